"""Holds as they are read: those that stand, those that ended, those of one budget."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import ColumnElement, Text, exists, func, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select

from ledger.database import Database
from ledger.spend.operations import Hold
from ledger.spend.tables import HoldRow


async def read_hold(database: Database, hold_id: str) -> Hold | None:
    async with database.read() as session:
        row = await session.get(HoldRow, hold_id)
    return None if row is None else _hold(row)


async def read_holds(database: Database, state: str | None, budget_id: str | None) -> list[Hold]:
    """Oldest first."""
    asked = select(HoldRow)
    if state is not None:
        asked = asked.where(HoldRow.state == state)
    if budget_id is not None:
        asked = asked.where(_names_budget(database, budget_id))
    async with database.read() as session:
        rows = (await session.exec(asked.order_by(col(HoldRow.created_at_us), col(HoldRow.id)))).all()
    return [_hold(row) for row in rows]


async def read_twin(database: Database, tenant_id: str, request_key: str, since_us: int) -> Hold | None:
    asked = select(HoldRow).where(HoldRow.tenant_id == tenant_id, HoldRow.request_key == request_key)
    latest = asked.where(HoldRow.created_at_us >= since_us).order_by(col(HoldRow.created_at_us).desc()).limit(1)
    async with database.read() as session:
        row = (await session.exec(latest)).first()
    return None if row is None else _hold(row)


def _names_budget(database: Database, budget_id: str) -> ColumnElement[bool]:
    if database.is_sqlite:
        named = func.json_each(HoldRow.budgets).table_valued("value")
        return exists().where(named.c.value == budget_id)
    return type_coerce(col(HoldRow.budgets), ARRAY(Text)).contains([budget_id])


def _hold(row: HoldRow) -> Hold:
    values = {field.name: getattr(row, field.name) for field in fields(Hold)}
    return Hold(**values | {name: tuple(values[name]) for name in ("budgets", "hows", "parts")})
