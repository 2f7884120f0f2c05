"""The spend primitive: budgets are held before the spend, captured or released after it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ledger.clock import SECOND_US, Clock
from ledger.database import Database
from ledger.errors import BudgetRefused, HoldEnded, IdempotencyConflict, InvalidInput, LedgerStopped, NotFound
from ledger.events import EventDraft
from ledger.ids import ordered_id
from ledger.spend import budgets, checks
from ledger.spend.budgets import Budget, NewBudget
from ledger.spend.holds import read_hold, read_holds, read_twin
from ledger.spend.operations import (
    Capture,
    Captured,
    Differs,
    Ended,
    EndsBy,
    EventRow,
    Expire,
    Held,
    Hold,
    Ledger,
    MarkSent,
    NotDue,
    Operation,
    Outcome,
    Record,
    Refused,
    Release,
    Renew,
    Reserve,
    UnknownBudget,
    UnknownHold,
    VaultRow,
)
from ledger.spend.takes import Take, whole
from ledger.together import Together

_MAX_LEASE_S = 30 * 86_400
_MOST_AT_ONCE = 128
"""Measured: beyond it the rate no longer rises, and every caller waits for the whole batch."""


class Spend:
    """The only way to move spend. `owner` is this process's name on the leases of its holds.

    Every method may raise DatabaseUnavailable (what was asked may or may not have been done; asking again with the
    same ids is safe) and LedgerStopped. Never await one inside a transaction of `Database.write()`: on SQLite it
    would wait for the lock that the transaction holds.
    """

    def __init__(self, database: Database, clock: Clock, owner: str) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._ledger = _ledger(database)
        self._batches: Together[Operation, Outcome] = Together(self._ledger.apply, _MOST_AT_ONCE)
        self._batches.is_open = False

    async def start(self) -> None:
        await self._ledger.open()
        self._batches.is_open = True

    async def close(self) -> None:
        await self._batches.close()
        await self._ledger.close()

    async def open_budget(self, budget: NewBudget) -> Budget:
        """Makes the budget; asked again, answers with the row as it is (its limit too).

        Raises IdempotencyConflict where the id is that of another tenant's, kind's or period's budget.
        """
        return await budgets.open_budget(self._database, budget, self._clock.now_us())

    async def set_limit(self, budget_id: str, limit_usd_nanos: int) -> Budget:
        """Raises NotFound, and Conflict where more than that is spent or held already."""
        return await budgets.set_limit(self._database, budget_id, limit_usd_nanos)

    async def budget(self, budget_id: str) -> Budget | None:
        return await budgets.read_budget(self._database, budget_id)

    async def reserve(
        self,
        *,
        tenant_id: str,
        budgets: Sequence[str | Take],
        amount_usd_nanos: int,
        least_usd_nanos: int | None = None,
        hold_id: str | None = None,
        lease_s: float = 120,
        ends_by: EndsBy = "lease",
        sent: EventDraft | None = None,
        floor_usd_nanos: int = 0,
        request_key: str | None = None,
    ) -> Hold:
        """Takes the amount from all of the budgets, or from none.

        A budget's id stands for `whole`. With `least_usd_nanos` it takes what there is room for, at least that; the
        hold says how much. With `sent` it is marked in the same breath as about to leave (see `mark_sent`).
        The same `hold_id` asked again answers with its hold as it stands. If the caller is cancelled, a hold whose
        id it did not choose is released; one whose id it knows it can ask for again, until the lease runs out.
        Raises BudgetRefused with the room that was seen in the same transaction, NotFound for a budget that does
        not exist, IdempotencyConflict where `hold_id` was another tenant's, amount's or other budgets'.
        """
        now_us = self._clock.now_us()
        least = amount_usd_nanos if least_usd_nanos is None else least_usd_nanos
        takes = [whole(budget) if isinstance(budget, str) else budget for budget in budgets]
        hold = Hold(
            id=ordered_id("hold") if hold_id is None else checks.name(hold_id, "hold_id"),
            tenant_id=checks.name(tenant_id, "tenant_id"),
            budgets=checks.names(tuple(take.budget_id for take in takes), "budgets"),
            hows=tuple(take.how for take in takes),
            amount_usd_nanos=checks.amount(amount_usd_nanos, "amount_usd_nanos"),
            owner=self._owner,
            lease_until_us=now_us + _lease_us(lease_s),
            ends_by=ends_by,
            created_at_us=now_us,
            sent_at_us=None if sent is None else now_us,
            floor_usd_nanos=checks.amount(floor_usd_nanos, "floor_usd_nanos"),
            floor_event=self._row(sent),
            request_key=request_key,
        )
        asked = Reserve(hold, checks.amount(least, "least_usd_nanos"))
        outcome = await self._batches.ask(asked, self._release_abandoned if hold_id is None else None)
        if isinstance(outcome, Held):
            return outcome.hold
        if isinstance(outcome, Refused):
            raise BudgetRefused(outcome.budget_id, least, outcome.room_usd_nanos)
        raise _error(outcome)

    async def mark_sent(self, hold: Hold, *, floor_usd_nanos: int = 0, event: EventDraft | None = None) -> None:
        """Says, before it happens, that something leaves which may cost; again, to raise the floor as it grows.

        Should the owner die, the sweeper captures the floor and records the event as an estimate.
        Raises HoldEnded, NotFound.
        """
        floor = checks.amount(floor_usd_nanos, "floor_usd_nanos")
        row = self._row(event)
        await self._done(MarkSent(hold.id, hold.fence, floor, row, self._clock.now_us()))

    async def renew(self, hold: Hold, lease_s: float = 120) -> None:
        """Raises HoldEnded, NotFound."""
        await self._done(Renew(hold.id, hold.fence, self._clock.now_us() + _lease_us(lease_s)))

    async def capture(
        self,
        hold_id: str,
        amount_usd_nanos: int,
        *,
        fence: int | None = None,
        to_account: str = "upstream",
        event: EventDraft | None = None,
        kept: VaultRow | None = None,
        most_usd_nanos: int | None = None,
    ) -> Captured:
        """Spends the actual amount and gives the rest of the hold back.

        What exceeds the hold is taken only if every budget has room for it and the whole is no more than
        `most_usd_nanos`; else what was held is captured, and the excess is the overrun, which the node bears. The
        event is recorded in the same transaction, with what was charged as its cost, and `kept` goes to the vault
        with it. The same capture again answers as before.
        Raises HoldEnded where it ended otherwise or `fence` is an old one, NotFound, IdempotencyConflict where
        the event's id was recorded before.
        """
        checks.name(hold_id, "hold_id")
        amount = checks.amount(amount_usd_nanos, "amount_usd_nanos")
        to = checks.name(to_account, "to_account")
        asked = Capture(hold_id, amount, fence, to, self._row(event), self._clock.now_us(), kept, most_usd_nanos)
        outcome = await self._batches.ask(asked)
        if isinstance(outcome, Captured):
            return outcome
        raise _error(outcome)

    async def release(self, hold_id: str, *, fence: int | None = None, event: EventDraft | None = None) -> None:
        """Gives the whole hold back. The same release again is answered as before.

        Raises HoldEnded where it ended otherwise, NotFound, IdempotencyConflict where the event's id was recorded.
        """
        checks.name(hold_id, "hold_id")
        await self._done(Release(hold_id, fence, self._row(event), self._clock.now_us()))

    async def record(self, event: EventDraft, *, counts: Sequence[str] = ()) -> str:
        """An event without a hold.

        Takes one unit of each of the budgets in `counts`, or raises BudgetRefused and records nothing.
        Answers with the event's id; an id that was recorded before changes nothing.
        """
        row = checks.event_row(event, self._clock.now_us())
        await self._done(Record(row, checks.names(tuple(counts), "counts")))
        return event.id

    async def expire(self, hold_id: str) -> bool:
        """The sweeper's: ends the hold if its lease has run out. False where it is not due."""
        outcome = await self._batches.ask(Expire(hold_id, self._clock.now_us()))
        return not isinstance(outcome, NotDue | UnknownHold)

    async def hold(self, hold_id: str) -> Hold | None:
        """The hold as it stands now."""
        return await read_hold(self._database, hold_id)

    async def holds(self, *, state: str | None = None, budget_id: str | None = None) -> list[Hold]:
        """Oldest first."""
        return await read_holds(self._database, state, budget_id)

    async def twin(self, tenant_id: str, request_key: str, since_us: int) -> Hold | None:
        """The tenant's latest hold of an equal request that was made since."""
        return await read_twin(self._database, tenant_id, request_key, since_us)

    async def _done(self, operation: Operation) -> None:
        outcome = await self._batches.ask(operation)
        if isinstance(outcome, Refused):
            raise BudgetRefused(outcome.budget_id, 1, outcome.room_usd_nanos)
        if isinstance(outcome, Ended | UnknownHold | UnknownBudget | Differs):
            raise _error(outcome)

    def _row(self, event: EventDraft | None) -> EventRow | None:
        return None if event is None else checks.event_row(event, self._clock.now_us())

    def _release_abandoned(self, outcome: Outcome) -> None:
        if isinstance(outcome, Held):
            with contextlib.suppress(LedgerStopped):  # then the lease ends it
                released = self._batches.ask(Release(outcome.hold.id, None, None, self._clock.now_us()))
                released.add_done_callback(lambda done: done.exception())


def _ledger(database: Database) -> Ledger:
    if database.is_sqlite:
        from ledger.spend.sqlite import SqliteLedger

        return SqliteLedger(database)
    from ledger.spend.postgres import PostgresLedger

    return PostgresLedger(database)


def _lease_us(lease_s: float) -> int:
    if not 0 <= lease_s <= _MAX_LEASE_S:
        raise InvalidInput("lease_s", f"must be from 0 to {_MAX_LEASE_S}")
    return int(lease_s * SECOND_US)


def _error(outcome: Outcome) -> Exception:
    match outcome:
        case UnknownBudget():
            return NotFound(f"there is no budget {outcome.budget_id}")
        case UnknownHold():
            return NotFound(f"there is no hold {outcome.hold_id}")
        case Differs():
            return IdempotencyConflict(f"the same id came before with another {outcome.field}")
        case Ended("held"):
            return HoldEnded("the hold has another owner now")
        case Ended():
            return HoldEnded(f"the hold was {outcome.state} before")
    raise AssertionError(outcome)
