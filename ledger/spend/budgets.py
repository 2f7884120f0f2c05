"""Budgets: opened once, read, and given another limit. What is spent and held of them only batches change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select, text
from sqlmodel import col

from ledger.database import AsyncSession, Database
from ledger.errors import Conflict, IdempotencyConflict, NotFound
from ledger.spend import checks
from ledger.spend.tables import BudgetRow

_OPEN = text(
    "INSERT INTO budgets (id, tenant_id, kind, period, limit_usd_nanos, spent_usd_nanos, held_usd_nanos, version,"
    " created_at_us) VALUES (:id, :tenant_id, :kind, :period, :limit_usd_nanos, 0, 0, 1, :created_at_us)"
    " ON CONFLICT (id) DO NOTHING"
)
_SET_LIMIT = text(
    "UPDATE budgets SET limit_usd_nanos = :limit, version = version + 1"
    " WHERE id = :id AND spent_usd_nanos + held_usd_nanos <= :limit RETURNING id"
)
_CAP = text(
    "UPDATE budgets SET limit_usd_nanos = CASE WHEN spent_usd_nanos + held_usd_nanos > :limit"
    " THEN spent_usd_nanos + held_usd_nanos ELSE :limit END, version = version + 1 WHERE id = :id RETURNING id"
)


@dataclass(frozen=True)
class NewBudget:
    id: str
    tenant_id: str
    kind: str
    """what it caps: `mandate`, `session`, `day`, `credits`, ..."""
    limit_usd_nanos: int
    period: str = ""
    """the UTC day or hour that it stands for, as its ISO form; empty where it has none"""


@dataclass(frozen=True)
class Budget:
    id: str
    tenant_id: str
    kind: str
    period: str
    limit_usd_nanos: int
    spent_usd_nanos: int
    held_usd_nanos: int
    version: int

    @property
    def room_usd_nanos(self) -> int:
        return self.limit_usd_nanos - self.spent_usd_nanos - self.held_usd_nanos

    def fits(self, limit_usd_nanos: int) -> bool:
        """It has this limit, or as near to it as what is spent and held allows."""
        return self.limit_usd_nanos == max(limit_usd_nanos, self.spent_usd_nanos + self.held_usd_nanos)


async def open_budget(database: Database, budget: NewBudget, now_us: int) -> Budget:
    """The budget, made unless it was there. Raises IdempotencyConflict where its id is another's."""
    checks.name(budget.id, "budget.id")
    checks.name(budget.tenant_id, "budget.tenant_id")
    checks.name(budget.kind, "budget.kind")
    checks.storable(budget.period, "budget.period")
    checks.amount(budget.limit_usd_nanos, "limit_usd_nanos")
    async with database.write() as session:
        await (await session.connection()).execute(_OPEN, {**vars(budget), "created_at_us": now_us})
        row = await session.get(BudgetRow, budget.id)
    assert row is not None
    if (row.tenant_id, row.kind, row.period) != (budget.tenant_id, budget.kind, budget.period):
        raise IdempotencyConflict(f"budget {budget.id} was opened for something else")
    return _budget(row)


async def set_limit(database: Database, budget_id: str, limit_usd_nanos: int) -> Budget:
    """Raises NotFound, and Conflict where more than the new limit is spent or held."""
    checks.name(budget_id, "budget_id")
    checks.amount(limit_usd_nanos, "limit_usd_nanos")
    async with database.write() as session:
        change = {"id": budget_id, "limit": limit_usd_nanos}
        changed = (await (await session.connection()).execute(_SET_LIMIT, change)).first()
        row = await session.get(BudgetRow, budget_id)
    if row is None:
        raise NotFound(f"there is no budget {budget_id}")
    if changed is None:
        used = row.spent_usd_nanos + row.held_usd_nanos
        raise Conflict(f"{used} nanos of {budget_id} are spent or held, more than {limit_usd_nanos}")
    return _budget(row)


async def cap(session: AsyncSession, budget_id: str, limit_usd_nanos: int) -> None:
    """In the caller's transaction: this limit, or what is spent and held where that is more, so that no room is left.

    Raises NotFound.
    """
    change = {"id": budget_id, "limit": checks.amount(limit_usd_nanos, "limit_usd_nanos")}
    if (await (await session.connection()).execute(_CAP, change)).first() is None:
        raise NotFound(f"there is no budget {budget_id}")


async def fit(
    session: AsyncSession, limited: Sequence[NewBudget], now_us: int, purses: Sequence[NewBudget] = ()
) -> None:
    """In the caller's transaction: makes those that are absent, and gives the limited ones their limit as `cap` does.

    Rows are locked in the order of their ids, as everywhere.
    """
    connection = await session.connection()
    leave = {purse.id for purse in purses}
    for budget in sorted((*limited, *purses), key=lambda each: each.id):
        checks.name(budget.id, "budget.id")
        await connection.execute(_OPEN, {**vars(budget), "created_at_us": now_us})
        if budget.id not in leave:
            await cap(session, budget.id, budget.limit_usd_nanos)


async def refit(session: AsyncSession, limited: Sequence[NewBudget]) -> None:
    """In the caller's transaction: those that are there and have another limit are capped at theirs."""
    wanted = {budget.id: budget.limit_usd_nanos for budget in limited}
    for budget_id, budget in sorted((await read_budgets(session, wanted)).items()):
        if not budget.fits(wanted[budget_id]):
            await cap(session, budget_id, wanted[budget_id])


async def read_budgets(session: AsyncSession, ids: Iterable[str]) -> dict[str, Budget]:
    """Those of the ids that are budgets."""
    asked = select(*(col(getattr(BudgetRow, each.name)) for each in fields(Budget)))
    found = await (await session.connection()).execute(asked.where(col(BudgetRow.id).in_(list(ids))))
    return {row.id: Budget(*row) for row in found}


async def read_budget(database: Database, budget_id: str) -> Budget | None:
    async with database.read() as session:
        row = await session.get(BudgetRow, budget_id)
    return None if row is None else _budget(row)


def _budget(row: BudgetRow) -> Budget:
    values: dict[str, Any] = row.model_dump(exclude={"created_at_us"})
    return Budget(**values)
