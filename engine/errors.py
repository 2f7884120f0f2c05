"""The engine's leaves of the error tree.

AgentNodeError
+-- RateLimitExceeded           429     RATE_LIMIT_EXCEEDED: the hour's requests are used up
+-- DailyLimitExceeded          429     DAILY_LIMIT_EXCEEDED: the day's dollars are, and waiting does not help today
+-- TooManyConcurrent           429     TOO_MANY_CONCURRENT: as many as allowed are at work
+-- CostAnomalous               403     COST_ANOMALOUS: far dearer than usual, and the policy refuses that
+-- RequestTooExpensive         403     REQUEST_TOO_EXPENSIVE: one request may not cost that much
+-- OwnerBudgetExceeded         403     OWNER_BUDGET_EXCEEDED: the department's, the agent's
+-- SessionBudgetExceeded       402     SESSION_BUDGET_EXCEEDED: the session has no room for it
+-- FundsInsufficient           402     INSUFFICIENT_BUDGET: credits and prepaid funds do not pay for it
+-- NoModelServes               400     NO_MODEL_SERVES: no model does what the request asks under its own conditions
+-- ModelNotAllowed             403     MODEL_NOT_ALLOWED: the tenant's policy keeps out who could serve
+-- NotFound
|   +-- ModelUnknown            404     MODEL_NOT_FOUND: no catalog prices it, so it is not called
+-- Unavailable
|   +-- ModelUnavailable        503     MODEL_UNAVAILABLE: priced, but its upstream has no key here
|   +-- UpstreamsShut           503     UPSTREAMS_SHUT: all that could serve rest after failures or wait at their limits
+-- UpstreamError               502     UPSTREAM_ERROR: the upstream answered with a failure, or with nothing of use
    +-- UpstreamUnreachable             UPSTREAM_UNREACHABLE: nothing reached it, nothing is owed
    +-- UpstreamRefused                 UPSTREAM_REFUSED: it refused the call (4xx), nothing is owed
    |   +-- UpstreamBusy        429     UPSTREAM_BUSY: its limit is reached, with the wait it asked for
    |   +-- UpstreamOverloaded          UPSTREAM_OVERLOADED: 503 or 529, with the wait it asked for
    |   +-- UpstreamDenied              UPSTREAM_DENIED: 401, 402, 403 or an empty quota, the operator's trouble
    |   +-- PromptRejected      400     PROMPT_REJECTED: the upstream says the request itself is wrong
    +-- UpstreamTimedOut                UPSTREAM_TIMEOUT: sent, and no answer in time
    +-- UpstreamGarbled                 UPSTREAM_GARBLED: what it sent is not a completion
    +-- StreamCut                       UPSTREAM_CUT: the stream broke off before its end
"""

from __future__ import annotations

from typing import Any, ClassVar

from ledger.errors import AgentNodeError, NotFound, Unavailable
from ledger.money import usd_fields


class RateLimitExceeded(AgentNodeError):
    """The requests of this hour are used up."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429


class DailyLimitExceeded(AgentNodeError):
    """What may be spent in this UTC day is spent or held."""

    code = "DAILY_LIMIT_EXCEEDED"
    status = 429
    should_retry = False


class TooManyConcurrent(AgentNodeError):
    """As many requests as allowed are at work at once."""

    code = "TOO_MANY_CONCURRENT"
    status = 429


class CostAnomalous(AgentNodeError):
    """The request is far dearer than the tenant's are, and its policy refuses such."""

    code = "COST_ANOMALOUS"
    status = 403


class RequestTooExpensive(AgentNodeError):
    """The request can cost more than one request may."""

    code = "REQUEST_TOO_EXPENSIVE"
    status = 403


class OwnerBudgetExceeded(AgentNodeError):
    """The budget of an owner, such as a department or an agent, has no room."""

    code = "OWNER_BUDGET_EXCEEDED"
    status = 403


class SessionBudgetExceeded(AgentNodeError):
    """The session's budget has no room for the request."""

    code = "SESSION_BUDGET_EXCEEDED"
    status = 402


class FundsInsufficient(AgentNodeError):
    """Credits and prepaid funds do not pay for the request."""

    code = "INSUFFICIENT_BUDGET"
    status = 402


class NoModelServes(AgentNodeError):
    """No model does what the request asks under the conditions that it sets; says which one is in the way."""

    code = "NO_MODEL_SERVES"
    status = 400


class ModelNotAllowed(AgentNodeError):
    """The tenant's policy keeps out every model that could serve the request."""

    code = "MODEL_NOT_ALLOWED"
    status = 403


class ModelUnknown(NotFound):
    """No catalog prices the model, so it is not called."""

    code = "MODEL_NOT_FOUND"


class ModelUnavailable(Unavailable):
    """The model is priced, but nothing here can serve the request with it."""

    code = "MODEL_UNAVAILABLE"


class UpstreamsShut(Unavailable):
    """All upstreams that could serve the request rest after failures, or wait until their limits allow calls again."""

    code = "UPSTREAMS_SHUT"


class UpstreamError(AgentNodeError):
    """The upstream answered with a failure, or with nothing of use.

    `reached` says whether the upstream saw the call, `owed` whether it may bill for it; where that cannot be known
    both are true, so that the ledger never forgets a call that was billed.
    """

    code = "UPSTREAM_ERROR"
    status = 502
    reached: ClassVar[bool] = True
    owed: ClassVar[bool] = True
    charged_usd_nanos: int = 0
    """What the caller was charged all the same: the prompt, and what had come of the answer. Then the same request
    again would be charged again."""

    def charge(self, usd_nanos: int) -> None:
        self.charged_usd_nanos = usd_nanos
        self.should_retry = usd_nanos == 0

    def as_dict(self) -> dict[str, Any]:
        charged = self.charged_usd_nanos
        return super().as_dict() | (usd_fields("charged_usd", charged) if charged else {})


class UpstreamUnreachable(UpstreamError):
    """Nothing reached the upstream."""

    code = "UPSTREAM_UNREACHABLE"
    reached = False
    owed = False


class UpstreamRefused(UpstreamError):
    """The upstream refused the call, so it does not bill for it."""

    code = "UPSTREAM_REFUSED"
    owed = False


class UpstreamBusy(UpstreamRefused):
    """The rate limit of the upstream, or of all that could serve, was reached."""

    code = "UPSTREAM_BUSY"
    status = 429


class UpstreamOverloaded(UpstreamRefused):
    """The upstream has no room for anybody now: 503, or Anthropic's 529."""

    code = "UPSTREAM_OVERLOADED"


class UpstreamDenied(UpstreamRefused):
    """The upstream does not take the operator's key or account: 401, 402, 403, or 429 for an empty quota."""

    code = "UPSTREAM_DENIED"


class PromptRejected(UpstreamRefused):
    """The upstream says that the request itself is wrong."""

    code = "PROMPT_REJECTED"
    status = 400


class UpstreamTimedOut(UpstreamError):
    """The call was sent and no answer came in time."""

    code = "UPSTREAM_TIMEOUT"


class UpstreamGarbled(UpstreamError):
    """What the upstream sent is not a completion."""

    code = "UPSTREAM_GARBLED"


class StreamCut(UpstreamError):
    """The upstream's stream broke off before its end."""

    code = "UPSTREAM_CUT"
