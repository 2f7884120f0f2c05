"""Budgets and holds as rows. The database itself refuses what would overspend a budget."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, JSON, BigInteger, CheckConstraint, Column, Index, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from ledger.database import Row
from ledger.money import MAX_USD_NANOS

# Rows are locked in the order of ids, and Python and every server must agree on it: by code point, in any locale.
_ORDERED_ID = String().with_variant(String(collation="C"), "postgresql")
_NAMES = JSON().with_variant(ARRAY(Text), "postgresql")
_NUMBERS = JSON().with_variant(ARRAY(BigInteger), "postgresql")
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class BudgetRow(Row, table=True):
    """Of the kinds `rate` and `slots` the unit is one request, not a nano."""

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("spent_usd_nanos + held_usd_nanos <= limit_usd_nanos", name="within_limit"),
        CheckConstraint("spent_usd_nanos >= 0 AND held_usd_nanos >= 0 AND limit_usd_nanos >= 0", name="not_negative"),
        CheckConstraint(f"limit_usd_nanos <= {MAX_USD_NANOS}", name="in_range"),
        # SQLite keeps '7x' and 1.5 in a BIGINT column as they are given.
        CheckConstraint(
            "typeof(limit_usd_nanos) = 'integer' AND typeof(spent_usd_nanos) = 'integer'"
            " AND typeof(held_usd_nanos) = 'integer'",
            name="integers",
        ).ddl_if(dialect="sqlite"),
        Index("ix_budgets_tenant_kind_period", "tenant_id", "kind", "period"),
        # The same few rows are updated all the time: room in the page keeps the updates out of the index.
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: str = Field(sa_column=Column(_ORDERED_ID, primary_key=True))
    tenant_id: str
    kind: str
    period: str
    limit_usd_nanos: int = Field(sa_type=BigInteger)
    spent_usd_nanos: int = Field(sa_type=BigInteger)
    held_usd_nanos: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)


class HoldRow(Row, table=True):
    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("state IN ('held', 'captured', 'released')", name="state"),
        CheckConstraint("ends_by IN ('lease', 'chain')", name="ends_by"),
        CheckConstraint("ended_by IN ('owner', 'sweeper')", name="ended_by"),
        CheckConstraint("(state = 'held') = (ended_at_us IS NULL)", name="ended_at"),
        CheckConstraint("(state = 'held') = (ended_by IS NULL)", name="ended"),
        CheckConstraint(
            "amount_usd_nanos >= 0 AND floor_usd_nanos >= 0 AND captured_usd_nanos >= 0 AND overrun_usd_nanos >= 0",
            name="not_negative",
        ),
        CheckConstraint("state = 'captured' OR captured_usd_nanos + overrun_usd_nanos = 0", name="captured"),
        CheckConstraint("fence >= 1", name="fence"),
        Index(
            "ix_holds_lease",
            "lease_until_us",
            postgresql_where=text("state = 'held'"),
            sqlite_where=text("state = 'held'"),
        ),
        Index("ix_holds_tenant", "tenant_id", "created_at_us"),
        Index(
            "ix_holds_request",
            *("tenant_id", "request_key", "created_at_us"),
            postgresql_where=text("request_key IS NOT NULL"),
            sqlite_where=text("request_key IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: str = Field(sa_column=Column(_ORDERED_ID, primary_key=True))
    tenant_id: str
    budgets: list[str] = Field(sa_column=Column(_NAMES, nullable=False))
    amount_usd_nanos: int = Field(sa_type=BigInteger)
    state: str
    owner: str
    lease_until_us: int = Field(sa_type=BigInteger)
    fence: int = Field(sa_type=BigInteger)
    ends_by: str
    sent_at_us: int | None = Field(sa_type=BigInteger)
    floor_usd_nanos: int = Field(sa_type=BigInteger)
    floor_event: dict[str, Any] | None = Field(sa_column=Column(_JSON))
    captured_usd_nanos: int = Field(sa_type=BigInteger)
    overrun_usd_nanos: int = Field(sa_type=BigInteger)
    event_id: str | None
    ended_by: str | None
    created_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(sa_type=BigInteger)
    hows: list[str] = Field(sa_column=Column(_NAMES, nullable=False))
    parts: list[int] = Field(sa_column=Column(_NUMBERS, nullable=False))
    request_key: str | None
