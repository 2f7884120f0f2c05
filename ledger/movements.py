"""Movements: each amount that changed hands, from one account to another, so that all of them sum to zero."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlmodel import Field

from ledger.database import Row


def tenant_account(tenant_id: str) -> str:
    """The account that a tenant's captures are paid from."""
    return f"tenant:{tenant_id}"


class Movement(Row, table=True):
    __tablename__ = "movements"
    __table_args__ = (
        CheckConstraint("kind IN ('capture', 'funding', 'settlement', 'refund')", name="kind"),
        CheckConstraint("usd_nanos > 0", name="positive"),
        CheckConstraint("from_account <> to_account", name="two_accounts"),
        Index("ix_movements_from", "from_account", "at_us"),
        Index("ix_movements_to", "to_account", "at_us"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    kind: str
    hold_id: str | None
    event_id: str | None
    from_account: str
    to_account: str
    usd_nanos: int = Field(sa_type=BigInteger)
    at_us: int = Field(sa_type=BigInteger)
