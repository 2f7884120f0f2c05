"""What is to be done: the request, on whose account, what for, and how to choose; and the beginning of its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.completion import Call
from engine.options import Options
from engine.request import CompletionRequest
from ledger.accounts import Account, Policy
from ledger.events import EventDraft, EventKind
from ledger.money import MAX_USD_NANOS


@dataclass(frozen=True, slots=True)
class Order:
    request: CompletionRequest
    account: Account
    call: Call
    options: Options
    began_us: int

    def event(self, kind: EventKind, decision: str, **said: Any) -> EventDraft:
        """An event that says whose this is and what for; `said` is the rest of it."""
        account, call = self.account, self.call
        return EventDraft(
            kind=kind,
            decision=decision,
            tenant_id=account.tenant_id,
            key_id=account.key_id,
            session_id=account.session_id,
            request_id=call.request_id,
            task_id=call.task_id,
            attribution=call.attribution,
            privacy_mode=call.privacy_mode,
            **said,
        )


def most_of(options: Options, policy: Policy | None) -> int:
    """What one call may cost: the caller's own limit, and the policy's."""
    own = MAX_USD_NANOS if options.max_cost_usd_nanos is None else options.max_cost_usd_nanos
    return own if policy is None else min(own, policy.limits.usd_nanos_per_request)
