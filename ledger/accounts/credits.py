"""Credits: money that a tenant has bought beforehand. One credit is 10,000,000 nanos; they never expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import or_
from sqlmodel import and_, col, select

from ledger.accounts.book import AccountBook
from ledger.accounts.money import DISCOUNTS, TEST, PaidIn, fund, pass_on
from ledger.accounts.periods import credits_budget
from ledger.accounts.sessions import Bind
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, NotFound, NotOffered
from ledger.events import EconomicEvent
from ledger.money import NANOS_PER_USD
from ledger.movements import Movement
from ledger.spend import BudgetRow

NANOS_PER_CREDIT = NANOS_PER_USD // 100

_DISCOUNTS = ((100_000, 10), (10_000, 5))
"""From so many credits, so many percent off; the greatest first."""

EntryKind = Literal["purchase", "discount", "spend", "refund"]


@dataclass(frozen=True)
class Balance:
    usd_nanos: int
    """what was bought and given, less what was spent"""
    test_usd_nanos: int
    """of that, test money"""
    held_usd_nanos: int
    """of that, held for calls under way"""


@dataclass(frozen=True)
class Purchase:
    id: str
    paid_usd_nanos: int
    bought_usd_nanos: int


@dataclass(frozen=True)
class Entry:
    """One line of the history. `usd_nanos` is negative where credits were spent."""

    id: str
    at_us: int
    kind: EntryKind
    usd_nanos: int
    balance_usd_nanos: int
    """after it"""
    request_id: str | None


@dataclass(frozen=True)
class History:
    """Newest first."""

    entries: Sequence[Entry]
    next_cursor: str | None


def bought_for(paid_usd_nanos: int) -> int:
    """The nanos' worth of credits that an amount buys: 5% off from 10,000 credits, 10% off from 100,000.

    The most credits whose price is at most the amount; a fraction of a nano is dropped.
    """
    for least_credits, percent_off in _DISCOUNTS:
        bought = paid_usd_nanos * 100 // (100 - percent_off)
        if bought >= least_credits * NANOS_PER_CREDIT:
            return bought
    return paid_usd_nanos


class Credits:
    """`has_test_money`: the node's chain is 31337, so that test credits can be had."""

    def __init__(self, database: Database, clock: Clock, book: AccountBook, has_test_money: bool) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._has_test_money = has_test_money

    async def balance(self, tenant_id: str) -> Balance:
        async with self._database.read() as session:
            return await _balance(session, tenant_id)

    async def purchase(
        self, tenant_id: str, paid_usd_nanos: int, mode: str, bind: Bind | None = None, paid: PaidIn | None = None
    ) -> Purchase:
        """`paid` is where the money is, of mode `paid`; the same again changes nothing.

        Raises NotOffered for what this node does not sell, InvalidInput.
        """
        if paid is None:
            self._check_mode(mode)
        bought = bought_for(paid_usd_nanos)
        if paid_usd_nanos <= 0:
            raise InvalidInput("amount_usd", "must be more than 0")
        purse, now_us = credits_budget(tenant_id, test=paid is None), self._clock.now_us()
        async with self._database.write() as session:
            if paid is not None:
                if await session.get(Movement, paid.movement_id) is not None:
                    return Purchase(paid.movement_id, paid_usd_nanos, bought)
                movement = await pass_on(session, purse, paid_usd_nanos, paid, now_us)
            else:
                movement = await fund(session, purse, paid_usd_nanos, TEST, now_us)
            if bought > paid_usd_nanos:
                await fund(session, purse, bought - paid_usd_nanos, DISCOUNTS, now_us)
            if bind is not None:
                await bind(session, movement)
        self._book.forget(tenant_id)
        return Purchase(movement, paid_usd_nanos, bought)

    def _check_mode(self, mode: str) -> None:
        if mode == "paid":
            raise NotOffered("mode", "is paid on chain, and this node has none")
        if mode != "test":
            raise InvalidInput("mode", "must be one of test, paid")
        if not self._has_test_money:
            raise NotOffered("mode", "is test money, which there is on chain 31337 only")

    async def purchased(self, tenant_id: str, movement_id: str) -> Purchase:
        """What was bought before. Raises NotFound."""
        async with self._database.read() as session:
            movement = await session.get(Movement, movement_id)
        if movement is None or movement.tenant_id != tenant_id:
            raise NotFound(f"there is no purchase {movement_id}")
        return Purchase(movement.id, movement.usd_nanos, bought_for(movement.usd_nanos))

    async def history(self, tenant_id: str, limit: int = 100, cursor: str | None = None) -> History:
        """What came in and went out, each with the balance after it. Raises InvalidInput for a cursor of no page."""
        accounts = [credits_budget(tenant_id, test).id for test in (False, True)]
        before = None if cursor is None else _position(cursor)
        async with self._database.read() as session:
            after = (await _balance(session, tenant_id)).usd_nanos if before is None else before[2]
            # Each of them walks one index backwards and stops; an OR over both would sort all that there is.
            pages = [
                (await session.exec(_newest(side, account, before, limit + 1))).all()
                for side in (Movement.from_account, Movement.to_account)
                for account in accounts
            ]
        found = sorted((each for page in pages for each in page), key=_place, reverse=True)[: limit + 1]
        entries = []
        for movement, request_id in found[:limit]:
            change = movement.usd_nanos if movement.to_account in accounts else -movement.usd_nanos
            entries.append(Entry(movement.id, movement.at_us, _kind(movement), change, after, request_id))
            after -= change
        last = entries[-1] if len(found) > limit else None
        return History(entries, None if last is None else f"{last.at_us}:{last.id}:{after}")


async def _balance(session: AsyncSession, tenant_id: str) -> Balance:
    real = await session.get(BudgetRow, credits_budget(tenant_id, test=False).id)
    test = await session.get(BudgetRow, credits_budget(tenant_id, test=True).id)
    rows = [row for row in (real, test) if row is not None]
    return Balance(
        usd_nanos=sum(row.limit_usd_nanos - row.spent_usd_nanos for row in rows),
        test_usd_nanos=0 if test is None else test.limit_usd_nanos - test.spent_usd_nanos,
        held_usd_nanos=sum(row.held_usd_nanos for row in rows),
    )


def _newest(side: Any, account: str, before: tuple[int, str, int] | None, limit: int) -> Any:
    at, key = col(Movement.at_us), col(Movement.id)
    asked = select(Movement, EconomicEvent.request_id).join(
        EconomicEvent, col(EconomicEvent.id) == col(Movement.event_id), isouter=True
    )
    asked = asked.where(side == account)
    if before is not None:
        at_us, movement_id, _ = before
        asked = asked.where(or_(at < at_us, and_(at == at_us, key < movement_id)))
    return asked.order_by(at.desc(), key.desc()).limit(limit)


def _place(found: tuple[Movement, str | None]) -> tuple[int, str]:
    return found[0].at_us, found[0].id


def _kind(movement: Movement) -> EntryKind:
    if movement.kind == "funding":
        return "discount" if movement.from_account == DISCOUNTS else "purchase"
    return "refund" if movement.kind == "refund" else "spend"


def _position(cursor: str) -> tuple[int, str, int]:
    at_us, _, rest = cursor.partition(":")
    movement_id, _, balance = rest.rpartition(":")
    numbers = all(each.isascii() and each.isdigit() and len(each) < 20 for each in (at_us, balance))
    if not numbers or int(at_us) >= 2**63 or not movement_id.isascii() or not movement_id.isprintable():
        raise InvalidInput("cursor", "must be the next_cursor of a page")
    return int(at_us), movement_id, int(balance)
