"""One upstream call as the ledger sees it: held before, marked before it is sent, ended exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from engine.catalog import cost_usd_nanos
from engine.completion import Account, Call
from engine.errors import UpstreamError
from engine.guard import believable, estimate
from engine.request import CompletionRequest
from engine.routing import Candidate
from engine.usage import Usage
from ledger.clock import Clock
from ledger.errors import HoldEnded, InvalidInput, Unavailable
from ledger.events import EventDraft
from ledger.ids import new_id
from ledger.spend import Hold, Spend

LEASE_S = 120.0
CHECKPOINT_BYTES = 1_024
"""Of a streamed answer: after so many more the floor is raised, so that a crash forgets at most these."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Settled:
    """What the call used and what was taken for it."""

    usage: Usage
    cost_usd_nanos: int
    overrun_usd_nanos: int
    estimated: bool


class MeteredCall:
    """An open hold for one call; `async with` ends it, whatever happens inside.

    Ended by `capture` in the good case. Otherwise: released where the upstream cannot bill for it, else captured at
    the estimate of what was used, flagged `estimated`. If the process dies, the sweeper does the latter with the
    last floor that was marked. If the hold was swept meanwhile, what is known now is a correction of that event.
    """

    def __init__(
        self,
        spend: Spend,
        clock: Clock,
        chosen: Candidate,
        request: CompletionRequest,
        account: Account,
        call: Call,
        lease_s: float = LEASE_S,
    ) -> None:
        self.event_id = new_id("evt")
        self._spend, self._clock = spend, clock
        self._chosen, self._request, self._account, self._call = chosen, request, account, call
        self._lease_s = lease_s
        self._began_us = clock.now_us()
        self._hold: Hold | None = None
        self._sent = False
        self._settling = False
        self._ended = False
        self._floor_usd_nanos = 0
        self._produced_bytes = 0
        self._marked_bytes = 0
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> MeteredCall:
        """Raises BudgetRefused where one of the account's budgets has no room for the bound."""
        self._hold = await self._spend.reserve(
            tenant_id=self._account.tenant_id,
            budgets=self._account.budgets,
            amount_usd_nanos=self._chosen.bound.usd_nanos,
            lease_s=self._lease_s,
        )
        self._renewing = asyncio.create_task(self._renew(self._hold))
        return self

    async def sent(self) -> None:
        """Journals the call before it leaves: from here on a crash is charged its floor."""
        await self._mark_floor()
        self._sent = True

    def saw(self, size_bytes: int) -> None:
        """Counts what has come of the answer."""
        self._produced_bytes += size_bytes

    async def produced(self, size_bytes: int) -> None:
        """Counts what has come of a streamed answer, and raises the floor from time to time."""
        self.saw(size_bytes)
        if self._produced_bytes - self._marked_bytes >= CHECKPOINT_BYTES:
            with contextlib.suppress(Unavailable, HoldEnded):  # the answer goes on; the capture will say
                await self._mark_floor()

    async def capture(self, counted: Usage | None) -> Settled:
        """Takes what the call cost by the upstream's count, or by our estimate where that count cannot be true."""
        self._settling = True
        return await _uninterrupted(self._capture(counted))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._renewing is not None
        self._renewing.cancel()
        if self._ended or self._settling:
            return  # a capture whose outcome is unknown is not undone: the sweeper ends what it left open
        assert error is not None, "a call ends by capture or by an error"
        with contextlib.suppress(Unavailable):  # the first error says more, and the sweeper ends the hold
            await _uninterrupted(self._abandon(error))

    async def _abandon(self, error: BaseException) -> None:
        match error:
            case UpstreamError(owed=True):
                error.charged_usd_nanos = (await self._capture(None, "upstream_failed", error.code)).cost_usd_nanos
            case UpstreamError(reached=True):
                await self._release(self._draft(Usage(), 0, "upstream_refused", deny_code=error.code))
            case UpstreamError() | InvalidInput():
                await self._release(None)
            case _ if not self._sent:
                await self._release(None)
            case _:
                await self._capture(None, "cut_short")

    async def _capture(self, counted: Usage | None, decision: str = "allowed", deny_code: str | None = None) -> Settled:
        assert self._hold is not None
        bound, price = self._chosen.bound, self._chosen.model.price
        trusted = believable(counted, bound, self._produced_bytes)
        usage = counted if trusted and counted else estimate(self._request, bound, self._produced_bytes)
        cost = cost_usd_nanos(usage, price)
        claimed = cost_usd_nanos(counted, price) if counted else cost
        draft = self._draft(usage, claimed, decision, deny_code=deny_code, counted=trusted)
        try:
            captured = await self._spend.capture(self._hold.id, cost, fence=self._hold.fence, event=draft)
        except HoldEnded:
            await self._spend.record(self._correction(draft))
            self._ended = True
            return Settled(usage, self._floor_usd_nanos, 0, not trusted)
        self._ended = True
        return Settled(usage, captured.captured_usd_nanos, captured.overrun_usd_nanos, not trusted)

    async def _release(self, event: EventDraft | None) -> None:
        assert self._hold is not None
        with contextlib.suppress(HoldEnded):  # swept: its floor event stands
            await self._spend.release(self._hold.id, fence=self._hold.fence, event=event)
        self._ended = True

    async def _mark_floor(self) -> None:
        assert self._hold is not None
        usage = estimate(self._request, self._chosen.bound, self._produced_bytes)
        floor = cost_usd_nanos(usage, self._chosen.model.price)
        draft = self._draft(usage, floor, "owner_lost")
        await self._spend.mark_sent(self._hold, floor_usd_nanos=floor, event=draft)
        self._floor_usd_nanos, self._marked_bytes = floor, self._produced_bytes

    async def _renew(self, hold: Hold) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._spend.renew(hold, self._lease_s)
            except HoldEnded:
                return
            except Unavailable:
                continue

    def _draft(
        self,
        usage: Usage,
        upstream_cost_usd_nanos: int,
        decision: str,
        *,
        deny_code: str | None = None,
        counted: bool = False,
    ) -> EventDraft:
        model, call = self._chosen.model, self._call
        return EventDraft(
            id=self.event_id,
            kind="engine_call",
            tenant_id=self._account.tenant_id,
            request_id=call.request_id,
            task_id=call.task_id,
            provider=model.provider,
            model=model.id,
            price_version=model.price.version,
            input_tokens=usage.input_tokens,
            cached_input_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            upstream_cost_usd_nanos=upstream_cost_usd_nanos,
            revenue_usd_nanos=call.revenue_usd_nanos if decision == "allowed" else 0,
            latency_ms=max(0, self._clock.now_us() - self._began_us) // 1_000,
            receipt_id=call.receipt_id,
            payment_id=call.payment_id,
            decision=decision,
            deny_code=deny_code,
            evidence_status="present" if counted else "missing",
            estimated=not counted and usage.total_tokens > 0,
            attribution=call.attribution,
            trace={"bound_usd_nanos": self._chosen.bound.usd_nanos, "max_tokens": self._chosen.bound.max_tokens},
        )

    def _correction(self, draft: EventDraft) -> EventDraft:
        return replace(draft, id=new_id("evt"), kind="correction", corrects=self.event_id)


async def _uninterrupted(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of work that must end once begun, though its caller be cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
