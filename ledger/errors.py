"""The error tree's root, and the ledger's own leaves. Each package adds its leaves in its own errors.py.

AgentNodeError                      code, status, retry_after_ms, param
+-- InvalidInput            400     INVALID_INPUT: what was sent is not of the form that is asked; names the field
+-- NotOffered              400     NOT_OFFERED: the form is right, and this node does not do it
+-- KeyInvalid              401     KEY_INVALID: no key, an unknown one or a revoked one
+-- ScopeMissing            403     SCOPE_MISSING: the key may not do this
+-- PolicyWider             403     POLICY_WIDER: a policy may not allow more than its frame does
+-- BudgetRefused           402     INSUFFICIENT_BUDGET: a budget has no room; carries budget, asked, room
+-- NotFound                404     NOT_FOUND: no such thing, or not the caller's
+-- Conflict                409     CONFLICT: the same key with another body, or a state that does not allow it
|   +-- IdempotencyConflict         IDEMPOTENCY_CONFLICT
|   +-- RequestInProgress           REQUEST_IN_PROGRESS: the first of the same requests is still at work
|   +-- HoldEnded                   HOLD_ENDED: captured, released or swept before
|   +-- SessionEnded                SESSION_ENDED: it was ended, or revoked
|   +-- SessionExpired              SESSION_EXPIRED: its time is over
|   +-- ClaimLost                   CLAIM_LOST: another worker took the work over (ledger/work)
+-- Unavailable             503     UNAVAILABLE: cannot check, so does not allow
    +-- DatabaseUnavailable         DATABASE_UNAVAILABLE
    +-- LedgerStopped               LEDGER_STOPPED: this process takes no more spends
    +-- VaultUnreadable             VAULT_UNREADABLE: sealed with other keys than the node's (ledger/vault)
"""

from __future__ import annotations

from typing import Any, ClassVar


class AgentNodeError(Exception):
    """A refusal or a failure that a caller is told of.

    `code` is for machines, `status` is HTTP's; the message begins with the code and says what to do next.
    """

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    retry_after_ms: int | None = None
    param: str | None = None
    should_retry: bool = True
    """False where the same request, sent again soon, can only be refused again, or would be paid for twice."""

    def __init__(self, message: str, *, param: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{self.code}: {message}")
        if param is not None:
            self.param = param
        if retry_after_ms is not None:
            self.retry_after_ms = retry_after_ms

    @property
    def message(self) -> str:
        return str(self)

    def as_dict(self) -> dict[str, Any]:
        """The object under `error` in every HTTP answer that refuses (docs/errors.md)."""
        body: dict[str, Any] = {"type": self.kind(), "message": self.message, "code": self.code}
        if self.param is not None:
            body["param"] = self.param
        if self.retry_after_ms is not None:
            body["retryAfterMs"] = self.retry_after_ms
        return body

    def kind(self) -> str:
        return _KINDS.get(self.status, "api_error")


_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "payment_required",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "unavailable_error",
}


MOST_OF_A_NAME = 200
"""Characters that are said of a field's name: it may be all of what was sent."""


class InvalidInput(AgentNodeError):
    """What was sent is not of the form that is asked; `param` names the field."""

    code = "INVALID_INPUT"
    status = 400

    def __init__(self, param: str, problem: str) -> None:
        param = param[:MOST_OF_A_NAME]
        super().__init__(f"{param} {problem}", param=param)


class NotOffered(AgentNodeError):
    """What was asked for exists, and not here; `param` names it."""

    code = "NOT_OFFERED"
    status = 400

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param} {problem}", param=param)


class KeyInvalid(AgentNodeError):
    """There is no key, it is unknown, or it was revoked."""

    code = "KEY_INVALID"
    status = 401


class ScopeMissing(AgentNodeError):
    """The key may not do this."""

    code = "SCOPE_MISSING"
    status = 403


class PolicyWider(AgentNodeError):
    """A policy asks for more than its frame allows; `param` names the limit."""

    code = "POLICY_WIDER"
    status = 403

    def __init__(self, name: str, frame: str) -> None:
        param = "billing" if name == "billing" else f"limits.{name.replace('usd_nanos', 'usd')}"
        super().__init__(f"{param} is not for this key to widen beyond {frame}; the operator can", param=param)


class BudgetRefused(AgentNodeError):
    """A budget had no room for the amount; nothing was taken from any."""

    code = "INSUFFICIENT_BUDGET"
    status = 402

    def __init__(self, budget_id: str, asked_usd_nanos: int, room_usd_nanos: int) -> None:
        self.budget_id = budget_id
        self.asked_usd_nanos = asked_usd_nanos
        self.room_usd_nanos = room_usd_nanos
        super().__init__(
            f"{asked_usd_nanos} nanos were asked of {budget_id}, which has room for {room_usd_nanos}; "
            "ask for less or raise its limit"
        )


class NotFound(AgentNodeError):
    """No such thing, or not the caller's: the two look the same."""

    code = "NOT_FOUND"
    status = 404


class Conflict(AgentNodeError):
    """The state of the thing does not allow it."""

    code = "CONFLICT"
    status = 409


class IdempotencyConflict(Conflict):
    """The same key came before with another body."""

    code = "IDEMPOTENCY_CONFLICT"


class RequestInProgress(Conflict):
    """The first of the same requests is still at work."""

    code = "REQUEST_IN_PROGRESS"


class HoldEnded(Conflict):
    """The hold was captured, released or swept before."""

    code = "HOLD_ENDED"


class SessionEnded(Conflict):
    """The session was ended, or revoked."""

    code = "SESSION_ENDED"


class SessionExpired(Conflict):
    """The session's time is over."""

    code = "SESSION_EXPIRED"


class Unavailable(AgentNodeError):
    """It cannot be checked, so it is not allowed."""

    code = "UNAVAILABLE"
    status = 503


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "DATABASE_UNAVAILABLE"
    retry_after_ms = 1_000


class LedgerStopped(Unavailable):
    """This process is stopping and takes no more spends."""

    code = "LEDGER_STOPPED"
    retry_after_ms = 1_000
