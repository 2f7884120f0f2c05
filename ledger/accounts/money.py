"""Money that comes in: a purse grows, and a movement says from where, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text

from ledger.database import AsyncSession
from ledger.errors import BudgetRefused, InvalidInput
from ledger.ids import new_id
from ledger.money import MAX_USD_NANOS
from ledger.movements import Movement
from ledger.spend import NewBudget, fit

TEST = "test"
"""The account that test money comes from, and goes back to."""
DISCOUNTS = "discounts"
"""The account that discounts on credits come from."""

_ADD = text(
    "UPDATE budgets SET limit_usd_nanos = limit_usd_nanos + :amount, version = version + 1"
    f" WHERE id = :id AND limit_usd_nanos <= {MAX_USD_NANOS} - :amount RETURNING id"
)


_WITHDRAW = text(
    "UPDATE budgets SET limit_usd_nanos = limit_usd_nanos - :amount, version = version + 1"
    " WHERE id = :id AND limit_usd_nanos - spent_usd_nanos - held_usd_nanos >= :amount RETURNING id"
)


@dataclass(frozen=True)
class PaidIn:
    """Money that a payment has put into a purse, to be passed on once: `key` names what it is passed on for."""

    purse_id: str
    key: str

    @property
    def movement_id(self) -> str:
        return f"mov_{self.key}"


async def pass_on(session: AsyncSession, purse: NewBudget, amount_usd_nanos: int, paid: PaidIn, now_us: int) -> str:
    """In the caller's transaction: from one purse to the other; the movement's id. Raises BudgetRefused, InvalidInput.

    Rows are locked in the order of their ids where `purse` comes before the one that pays.
    """
    await fit(session, (), now_us, (purse,))
    await raise_limit(session, purse.id, amount_usd_nanos)
    await withdraw(session, paid.purse_id, amount_usd_nanos)
    return move(
        session, purse.tenant_id, "funding", paid.purse_id, purse.id, amount_usd_nanos, now_us, paid.movement_id
    )


async def fund(
    session: AsyncSession,
    purse: NewBudget,
    amount_usd_nanos: int,
    from_account: str,
    now_us: int,
    kind: Literal["funding", "settlement", "refund"] = "funding",
) -> str:
    """In the caller's transaction: the movement's id. A purse that is absent is made. Raises InvalidInput."""
    await fit(session, (), now_us, (purse,))
    await raise_limit(session, purse.id, amount_usd_nanos)
    return move(session, purse.tenant_id, kind, from_account, purse.id, amount_usd_nanos, now_us)


async def raise_limit(session: AsyncSession, budget_id: str, by_usd_nanos: int) -> None:
    """Raises InvalidInput where more would be in it than a budget can hold."""
    change = {"id": budget_id, "amount": by_usd_nanos}
    if (await (await session.connection()).execute(_ADD, change)).first() is None:
        raise InvalidInput("amount", "is more than can be held in one place")


async def withdraw(session: AsyncSession, purse_id: str, amount_usd_nanos: int) -> None:
    """In the caller's transaction, which moves it elsewhere. Raises BudgetRefused where less is free."""
    change = {"id": purse_id, "amount": amount_usd_nanos}
    if (await (await session.connection()).execute(_WITHDRAW, change)).first() is None:
        raise BudgetRefused(purse_id, amount_usd_nanos, 0)


def move(
    session: AsyncSession,
    tenant_id: str,
    kind: Literal["funding", "settlement", "refund"],
    from_account: str,
    to_account: str,
    amount_usd_nanos: int,
    now_us: int,
    movement_id: str | None = None,
) -> str:
    movement = Movement(
        id=movement_id or new_id("mov"),
        tenant_id=tenant_id,
        kind=kind,
        hold_id=None,
        event_id=None,
        from_account=from_account,
        to_account=to_account,
        usd_nanos=amount_usd_nanos,
        at_us=now_us,
    )
    session.add(movement)
    return movement.id
