"""Rows of claims and of requests that are remembered."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint
from sqlmodel import Field

from ledger.database import Row


class ClaimRow(Row, table=True):
    __tablename__ = "claims"

    kind: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    owner: str
    fence: int = Field(sa_type=BigInteger)
    """Grows with each taking; the row is kept when released, so that it never starts again."""
    lease_until_us: int = Field(sa_type=BigInteger)


class RequestRow(Row, table=True):
    __tablename__ = "requests"
    __table_args__ = (
        CheckConstraint("(finished_at_us IS NULL) = (status IS NULL)", name="finished_with_status"),
        CheckConstraint("finished_at_us IS NULL OR tenant_id IS NOT NULL", name="finished_for_a_tenant"),
    )

    scope: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    lease_until_us: int = Field(sa_type=BigInteger)
    ref: str | None = None
    """What the request made, a task's id for instance: outlives the reply's content."""
    tenant_id: str | None = None
    status: int | None = None
    finished_at_us: int | None = Field(default=None, sa_type=BigInteger)
