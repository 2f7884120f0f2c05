"""One upstream call as the ledger sees it: held and marked as sent before it leaves, ended exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.catalog import Model, cost_usd_nanos
from engine.errors import UpstreamError
from engine.guard import Bound, afforded, believable, estimate, hidden_tokens
from engine.order import Order
from engine.usage import Usage
from ledger.clock import Clock
from ledger.errors import HoldEnded, InvalidInput, Unavailable
from ledger.events import EventDraft
from ledger.ids import ordered_id
from ledger.money import MAX_USD_NANOS
from ledger.spend import Hold, Paid, Spend, Take

LEASE_S = 120.0
CHECKPOINT_BYTES = 1_024
"""Of a streamed answer: after so many more the floor is raised, so that a crash forgets at most these."""

Trace = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Charged:
    """What the call used and what was taken for it."""

    usage: Usage
    cost_usd_nanos: int
    overrun_usd_nanos: int
    estimated: bool
    shares: tuple[Paid, ...] = ()


class MeteredCall:
    """A hold for one call, from `open` to `close`, whatever happens between.

    Ended by `capture` in the good case. Otherwise: released where the upstream cannot bill for it, else captured at
    the estimate of what was used, flagged `estimated`. If the process dies, the sweeper does the latter with the
    last floor that was marked. If the hold was swept meanwhile, what is known now is a correction of that event.
    """

    def __init__(
        self,
        spend: Spend,
        clock: Clock,
        model: Model,
        limit: Bound,
        order: Order,
        takes: Sequence[Take],
        trace: Trace,
        lease_s: float = LEASE_S,
        most_usd_nanos: int = MAX_USD_NANOS,
    ) -> None:
        self.event_id = ordered_id("evt")
        self.charged_usd_nanos = 0
        self.limit = limit
        """what the call may use: known once its hold stands"""
        self.silent_us = 0
        """of a call that is left: how long nothing had come of its answer"""
        self._spend, self._clock, self._lease_s = spend, clock, lease_s
        self._model, self._order, self._takes = model, order, takes
        self._trace, self._most_usd_nanos = trace, most_usd_nanos
        self._began_us = clock.now_us()
        self._hold: Hold | None = None
        self._capturing = False
        self._ended = False
        self._floor_usd_nanos = 0
        self._produced_bytes = 0
        self._marked_bytes = 0
        self._renewal: asyncio.TimerHandle | asyncio.Task[None] | None = None
        """waits for its time, or is on its way"""

    async def open(self) -> None:
        """Holds and journals the call in one breath: from here on a crash is charged its floor.

        Raises BudgetRefused where one of the budgets has no room for it.
        """
        floor, draft = self._floor()
        self._hold = await self._spend.reserve(
            tenant_id=self._order.account.tenant_id,
            budgets=self._takes,
            amount_usd_nanos=self.limit.usd_nanos,
            least_usd_nanos=self.limit.least_usd_nanos,
            lease_s=self._lease_s,
            sent=draft,
            floor_usd_nanos=floor,
            request_key=self._order.call.retry_key,
        )
        self._floor_usd_nanos = floor
        self.limit = afforded(self.limit, self._order.request, self._model, self._hold.amount_usd_nanos)
        self._renew_later()

    def saw(self, size_bytes: int) -> None:
        """Counts what has come of the answer."""
        self._produced_bytes += size_bytes

    @property
    def floor_is_old(self) -> bool:
        """So much has come of a streamed answer that its floor should be raised."""
        return self._produced_bytes - self._marked_bytes >= CHECKPOINT_BYTES

    async def raise_floor(self) -> None:
        with contextlib.suppress(Unavailable, HoldEnded):  # the answer goes on; the capture will say
            assert self._hold is not None
            floor, draft = self._floor()
            marked_bytes = self._produced_bytes
            await self._spend.mark_sent(self._hold, floor_usd_nanos=floor, event=draft)
            self._floor_usd_nanos, self._marked_bytes = floor, marked_bytes

    async def capture(self, counted: Usage | None, kept: dict[str, Any] | None = None) -> Charged:
        """Takes what the call cost by the upstream's count, or by our estimate where that count cannot be true.

        `kept` is a row for the vault (`Vault.seal`), written with the capture.
        """
        self._capturing = True
        try:
            return await self._capture(counted, kept=kept)
        except asyncio.CancelledError:
            # It is on its way to the books. The same again is answered as before, and corrects what was swept.
            await _uninterrupted(self._capture(counted, kept=kept))
            raise

    async def close(self, error: BaseException | None) -> None:
        """With what ended the call, where it was not captured."""
        if self._renewal is not None:
            self._renewal.cancel()
        if self._ended or self._capturing:
            return  # a capture whose outcome is unknown is not undone: the sweeper ends what it left open
        assert error is not None, "a call ends by capture or by an error"
        with contextlib.suppress(Unavailable):  # the first error says more, and the sweeper ends the hold
            await _uninterrupted(self._abandon(error))

    async def _abandon(self, error: BaseException) -> None:
        match error:
            case UpstreamError(owed=True):
                used = estimate(self._order.request, self.limit, self._produced_bytes)
                self.charged_usd_nanos = cost_usd_nanos(used, self._model.price)  # should the books not answer
                self.charged_usd_nanos = (await self._capture(None, "upstream_failed", error.code)).cost_usd_nanos
            case UpstreamError(reached=True):
                await self._release(self._draft(Usage(), 0, "upstream_refused", deny_code=error.code))
            case UpstreamError() | InvalidInput():
                await self._release(None)
            case asyncio.CancelledError() | GeneratorExit():
                # Who reads an answer and leaves before its count has had the reasoning too.
                await self._capture(None, "cut_short", hidden=hidden_tokens(self._model, self.silent_us))
            case _:
                await self._capture(None, "cut_short")

    async def _capture(
        self,
        counted: Usage | None,
        decision: str = "allowed",
        deny_code: str | None = None,
        kept: dict[str, Any] | None = None,
        hidden: int = 0,
    ) -> Charged:
        assert self._hold is not None
        limit, price = self.limit, self._model.price
        trusted = believable(counted, limit, self._produced_bytes)
        usage = counted if trusted and counted else estimate(self._order.request, limit, self._produced_bytes, hidden)
        cost = cost_usd_nanos(usage, price)
        claimed = cost_usd_nanos(counted, price) if counted else cost
        draft = self._draft(usage, claimed, decision, deny_code=deny_code, counted=trusted)
        try:
            captured = await self._spend.capture(
                self._hold.id,
                cost,
                fence=self._hold.fence,
                event=draft,
                kept=kept,
                most_usd_nanos=self._most_usd_nanos,
            )
        except HoldEnded:
            await self._spend.record(self._correction(draft))
            self._ended = True
            return Charged(usage, self._floor_usd_nanos, 0, not trusted)
        self._ended = True
        charged, overrun = captured.captured_usd_nanos, captured.overrun_usd_nanos
        return Charged(usage, charged, overrun, not trusted, captured.shares)

    async def _release(self, event: EventDraft | None) -> None:
        assert self._hold is not None
        with contextlib.suppress(HoldEnded):  # swept: its floor event stands
            await self._spend.release(self._hold.id, fence=self._hold.fence, event=event)
        self._ended = True

    def _floor(self) -> tuple[int, EventDraft]:
        """What is charged if this process dies now, and the event that says so."""
        usage = estimate(self._order.request, self.limit, self._produced_bytes)
        floor = cost_usd_nanos(usage, self._model.price)
        return floor, self._draft(usage, floor, "owner_lost")

    def _renew_later(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(self._lease_s / 3, self._renew_now)

    def _renew_now(self) -> None:
        self._renewal = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        assert self._hold is not None
        if self._ended or self._capturing:
            return
        with contextlib.suppress(Unavailable, HoldEnded):
            await self._spend.renew(self._hold, self._lease_s)
        self._renew_later()

    def _draft(
        self,
        usage: Usage,
        upstream_cost_usd_nanos: int,
        decision: str,
        *,
        deny_code: str | None = None,
        counted: bool = False,
    ) -> EventDraft:
        model, call = self._model, self._order.call
        return self._order.event(
            "engine_call",
            decision,
            id=self.event_id,
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
            deny_code=deny_code,
            evidence_status="present" if counted else "missing",
            estimated=not counted and usage.total_tokens > 0,
            trace=self._trace | {"bound_usd_nanos": self.limit.usd_nanos, "max_tokens": self.limit.max_tokens},
        )

    def _correction(self, draft: EventDraft) -> EventDraft:
        return replace(draft, id=ordered_id("evt"), kind="correction", corrects=self.event_id)


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
