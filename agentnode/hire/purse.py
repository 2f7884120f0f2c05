"""From what a hire is paid: a mandate's budget, or the tenant's day where there is no mandate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from agentnode.hire.request import HireRequest
from agentnode.hire.tables import HireCall
from ledger.errors import HoldEnded, NotFound
from ledger.events import EventDraft
from ledger.money import usd_exact
from ledger.spend import Hold, Spend
from mandates import Mandates, UseRequest
from trust.signatures import didpkh

DaysOf: TypeAlias = Callable[[str, str | None], Awaitable[Sequence[str]]]
"""The ids of the day's budgets of a tenant and its key, which are there (`AccountBook.days`)."""


class Purse:
    """Holds before, captures or releases after: each of them may be asked for again after a crash."""

    def __init__(self, spend: Spend, mandates: Mandates, days_of: DaysOf) -> None:
        self._spend = spend
        self._mandates = mandates
        self._days_of = days_of

    async def hold(self, call: HireCall, request: HireRequest, chain_id: int) -> Hold:
        """Raises what the mandate or the budget refuses with; nothing is held then."""
        if call.mandate_id is None:
            return await self._spend.reserve(
                tenant_id=call.tenant_id,
                budgets=await self._days_of(call.tenant_id, request.key_id),
                amount_usd_nanos=call.amount_usd_nanos,
                hold_id=call.use_id,
                ends_by="chain",
            )
        use: dict[str, Any] = {
            "use_id": call.use_id,
            "amount_usd": usd_exact(call.amount_usd_nanos),
            "category": request.category,
            "description": f"hire {call.resource_id or call.card_url}",
            "payee": call.payee,
            "task_id": call.task_id,
            "agent_did": request.agent_did or didpkh.encode(chain_id, call.payer),
        }
        authorized = await self._mandates.authorize(call.tenant_id, call.mandate_id, UseRequest.parse(use))
        return authorized.hold

    async def mark_sent(self, call: HireCall, hold: Hold) -> None:
        """From here on only the chain ends the hold, and it may be signed.

        Raises HoldEnded where it was ended before, and MandateRevoked and its like where the mandate was stopped.
        """
        if call.mandate_id is None:
            await self._spend.mark_sent(hold)
        else:
            await self._mandates.mark_sent(call.tenant_id, call.use_id)

    async def capture(self, call: HireCall, event: EventDraft) -> None:
        if call.mandate_id is None:
            await self._spend.capture(call.use_id, call.amount_usd_nanos, to_account="payee", event=event)
        else:
            await self._mandates.capture(call.tenant_id, call.mandate_id, call.use_id, call.amount_usd_nanos, event)

    async def release(self, call: HireCall) -> None:
        """For a payment that has not left, or can no longer move: gives back what was held, if it was at all.

        The process may have ended between the plan and the hold.
        """
        try:
            if call.mandate_id is None:
                await self._spend.release(call.use_id)
            else:
                await self._mandates.lapse(call.tenant_id, call.mandate_id, call.use_id)
        except (HoldEnded, NotFound):
            return
