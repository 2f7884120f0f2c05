"""Decides a batch in memory: pure. Rows as they were locked come in; outcomes and the rows to write come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.movements import tenant_account
from ledger.spend.operations import (
    Capture,
    Captured,
    Differs,
    Done,
    Ended,
    EventRow,
    Expire,
    Held,
    Hold,
    MarkSent,
    NotDue,
    Operation,
    Outcome,
    Paid,
    Record,
    Refused,
    Release,
    Renew,
    Reserve,
    UnknownBudget,
    UnknownHold,
    VaultRow,
)

CREDITS = ("credits", "test-credits")
"""Kinds of budgets whose payments an event shows as paid by credits."""


@dataclass(slots=True)
class Balance:
    """A locked budget: its room, and what this batch does to it so far."""

    room: int
    """in the budget's unit: nanos, or requests"""
    kind: str = ""
    spent_delta: int = 0
    held_delta: int = 0

    def take(self, *, spent: int = 0, held: int = 0) -> None:
        self.spent_delta += spent
        self.held_delta += held
        self.room -= spent + held
        assert self.room >= 0


@dataclass(slots=True)
class Books:
    """The rows that a batch names, and what it changes of them."""

    balances: dict[str, Balance]
    holds: dict[str, Hold]
    events: set[str]
    """ids of events that exist already"""
    new_holds: set[str] = field(default_factory=set)
    changed_holds: set[str] = field(default_factory=set)
    new_events: list[EventRow] = field(default_factory=list)
    movements: list[dict[str, Any]] = field(default_factory=list)
    kept: list[VaultRow] = field(default_factory=list)

    def add_hold(self, hold: Hold) -> None:
        self.holds[hold.id] = hold
        self.new_holds.add(hold.id)

    def change_hold(self, hold: Hold, **changes: Any) -> Hold:
        changed = self.holds[hold.id] = replace(hold, **changes)
        if hold.id not in self.new_holds:
            self.changed_holds.add(hold.id)
        return changed

    def add_event(self, event: EventRow, **changes: Any) -> None:
        self.events.add(event["id"])
        self.new_events.append(event | changes)

    def move(
        self, hold: Hold, event_id: str | None, from_account: str, to_account: str, usd_nanos: int, at_us: int, key: str
    ) -> None:
        if usd_nanos:
            row = {"id": f"mov_{key}", "tenant_id": hold.tenant_id, "hold_id": hold.id, "event_id": event_id}
            moved = {"from_account": from_account, "to_account": to_account, "usd_nanos": usd_nanos}
            self.movements.append(row | moved | {"kind": "capture", "at_us": at_us})


def named_holds(batch: Sequence[Operation]) -> set[str]:
    return {op.hold.id if isinstance(op, Reserve) else op.hold_id for op in batch if not isinstance(op, Record)}


def named_budgets(batch: Sequence[Operation], holds: Iterable[Hold]) -> set[str]:
    """Those that new holds ask for, and those of the holds that exist (a hold's budgets never change)."""
    asked = {budget for op in batch if isinstance(op, Reserve) for budget in op.hold.budgets}
    counted = {budget for op in batch if isinstance(op, Record) for budget in op.counts}
    return asked.union(counted, *(hold.budgets for hold in holds))


def named_events(batch: Sequence[Operation], holds: Iterable[Hold]) -> set[str]:
    drafts = [op.event for op in batch if isinstance(op, Capture | Release | MarkSent | Record)]
    drafts += [op.hold.floor_event for op in batch if isinstance(op, Reserve)]
    drafts += [hold.floor_event for hold in holds]
    return {event["id"] for event in drafts if event is not None}


def decide(batch: Sequence[Operation], books: Books) -> list[Outcome]:
    """Each operation in the order of arrival; a refusal leaves the books as they were."""
    return [_decide(op, books) for op in batch]


def _decide(op: Operation, books: Books) -> Outcome:
    match op:
        case Reserve():
            return _reserve(op, books)
        case Record():
            return _record(op, books)
    hold = books.holds.get(op.hold_id)
    if hold is None:
        return UnknownHold(op.hold_id)
    if isinstance(op, Expire):
        return _expire(op, hold, books)
    if op.fence is not None and op.fence != hold.fence:
        return Ended(hold.state)
    match op:
        case Capture():
            return _capture(op, hold, books)
        case Release():
            return _release(op, hold, books)
        case MarkSent() if hold.state == "held":
            books.change_hold(
                hold,
                sent_at_us=op.at_us if hold.sent_at_us is None else hold.sent_at_us,
                floor_usd_nanos=op.floor_usd_nanos,
                floor_event=op.event or hold.floor_event,
            )
            return Done()
        case Renew() if hold.state == "held":
            books.change_hold(hold, lease_until_us=max(hold.lease_until_us, op.lease_until_us))
            return Done()
    return Ended(hold.state)


def _reserve(op: Reserve, books: Books) -> Outcome:
    asked = op.hold
    before = books.holds.get(asked.id)
    if before is not None:
        for name in ("tenant_id", "budgets", "hows"):
            if getattr(before, name) != getattr(asked, name):
                return Differs(name)
        if not op.least_usd_nanos <= before.amount_usd_nanos <= asked.amount_usd_nanos:
            return Differs("amount_usd_nanos")
        return Held(before, fresh=False)
    for budget_id in asked.budgets:
        if budget_id not in books.balances:
            return UnknownBudget(budget_id)
    granted = asked.amount_usd_nanos
    shared, last_share = 0, None
    for budget_id, how in zip(asked.budgets, asked.hows, strict=True):
        room = books.balances[budget_id].room
        if how == "share":
            shared, last_share = shared + room, budget_id
        elif room < (op.least_usd_nanos if how == "whole" else 1):
            return Refused(budget_id, room)
        elif how == "whole":
            granted = min(granted, room)
    if last_share is not None:
        if shared < op.least_usd_nanos:
            return Refused(last_share, shared)
        granted = min(granted, shared)
    # From here on nothing can fail.
    parts, left = [], granted
    for budget_id, how in zip(asked.budgets, asked.hows, strict=True):
        balance = books.balances[budget_id]
        if how == "count":
            balance.take(spent=1)
            parts.append(0)
            continue
        part = {"whole": granted, "slot": 1, "share": min(left, balance.room)}[how]
        left -= part if how == "share" else 0
        balance.take(held=part)
        parts.append(part)
    held = replace(asked, amount_usd_nanos=granted, parts=tuple(parts))
    books.add_hold(held)
    return Held(held, fresh=True)


def _capture(op: Capture, hold: Hold, books: Books) -> Outcome:
    if hold.state != "held":
        same = hold.captured_usd_nanos + hold.overrun_usd_nanos == op.amount_usd_nanos
        if hold.state == "captured" and hold.ended_by == "owner" and same:
            return _captured(hold, books)
        return Ended(hold.state)
    if op.event is not None and op.event["id"] in books.events:
        return Differs("event.id")
    excess = max(0, op.amount_usd_nanos - hold.amount_usd_nanos)
    too_much = op.most_usd_nanos is not None and op.amount_usd_nanos > op.most_usd_nanos
    overrun = excess if excess and (too_much or not _has_room(hold, excess, books)) else 0
    # From here on nothing can fail.
    hold = _end(hold, books, op.amount_usd_nanos - overrun, overrun, op.event, op.at_us, by="owner", to=op.to_account)
    if op.kept is not None:
        books.kept.append(op.kept)
    return _captured(hold, books)


def _has_room(hold: Hold, excess: int, books: Books) -> bool:
    rooms = [(how, books.balances[budget_id].room) for budget_id, how in zip(hold.budgets, hold.hows, strict=True)]
    shares = [room for how, room in rooms if how == "share"]
    return all(room >= excess for how, room in rooms if how == "whole") and (not shares or sum(shares) >= excess)


def _captured(hold: Hold, books: Books) -> Captured:
    taken = zip(hold.budgets, hold.hows, hold.parts, strict=True)
    shares = [Paid(name, part, books.balances[name].room) for name, how, part in taken if how == "share"]
    return Captured(hold.captured_usd_nanos, hold.overrun_usd_nanos, hold.event_id, tuple(shares))


def _release(op: Release, hold: Hold, books: Books) -> Outcome:
    if hold.state != "held":
        return Done() if hold.state == "released" and hold.ended_by == "owner" else Ended(hold.state)
    if op.event is not None and op.event["id"] in books.events:
        return Differs("event.id")
    # From here on nothing can fail.
    _end(hold, books, None, 0, op.event, op.at_us, by="owner")
    return Done()


def _expire(op: Expire, hold: Hold, books: Books) -> Outcome:
    for_the_chain = hold.ends_by == "chain" and hold.sent_at_us is not None
    if hold.state != "held" or hold.lease_until_us > op.at_us or for_the_chain:
        return NotDue()
    if hold.sent_at_us is None:
        _end(hold, books, None, 0, None, op.at_us, by="sweeper")
        return Done()
    event = hold.floor_event
    if event is not None:
        event = event | {"estimated": True, "evidence_status": "missing"}
    hold = _end(hold, books, min(hold.floor_usd_nanos, hold.amount_usd_nanos), 0, event, op.at_us, by="sweeper")
    return _captured(hold, books)


def _record(op: Record, books: Books) -> Outcome:
    event_id = op.event["id"]
    if event_id in books.events:
        return Done()
    for budget_id in op.counts:
        if budget_id not in books.balances:
            return UnknownBudget(budget_id)
        if books.balances[budget_id].room < 1:
            return Refused(budget_id, 0)
    # From here on nothing can fail.
    for budget_id in op.counts:
        books.balances[budget_id].take(spent=1)
    books.add_event(op.event)
    return Done()


def _end(
    hold: Hold,
    books: Books,
    captured: int | None,
    overrun: int,
    event: EventRow | None,
    at_us: int,
    *,
    by: str,
    to: str = "upstream",
) -> Hold:
    """Captures that much of the hold, or releases it where `captured` is None."""
    charged = captured or 0
    event_id = None if event is None else event["id"]
    paid = _paid(hold, charged, books)
    credits_paid = 0
    for budget_id, part, spent in zip(hold.budgets, hold.parts, paid, strict=True):
        balance = books.balances[budget_id]
        balance.take(spent=spent, held=-part)
        credits_paid += spent if balance.kind in CREDITS else 0
    if event is not None and event_id not in books.events:
        changes = {"cost_usd_nanos": charged, "credits_usd_nanos": credits_paid, "overrun_usd_nanos": overrun}
        books.add_event(event, at_us=at_us, **changes)
    if "share" not in hold.hows:
        books.move(hold, event_id, tenant_account(hold.tenant_id), to, charged, at_us, hold.id)
    for place, (budget_id, how, spent) in enumerate(zip(hold.budgets, hold.hows, paid, strict=True)):
        if how == "share":
            books.move(hold, event_id, budget_id, to, spent, at_us, f"{hold.id}.{place}")
    return books.change_hold(
        hold,
        state="released" if captured is None else "captured",
        fence=hold.fence if by == "owner" else hold.fence + 1,
        captured_usd_nanos=charged,
        overrun_usd_nanos=overrun,
        event_id=event_id,
        ended_by=by,
        ended_at_us=at_us,
        parts=tuple(paid),
        floor_event=None,
    )


def _paid(hold: Hold, charged: int, books: Books) -> list[int]:
    """What each budget pays: caps all of it, shares in order what they hold, and then what they have besides."""
    paid, left = [], charged
    for how, part in zip(hold.hows, hold.parts, strict=True):
        of_share = min(left, part) if how == "share" else 0
        paid.append(charged if how == "whole" else of_share)
        left -= of_share
    for place, (budget_id, how) in enumerate(zip(hold.budgets, hold.hows, strict=True)):
        if how == "share" and left:
            more = min(left, books.balances[budget_id].room)
            paid[place] += more
            left -= more
    return paid
