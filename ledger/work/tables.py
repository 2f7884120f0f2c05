"""Rows of claims, of requests that are remembered, and of what is to be sent."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field

from ledger.database import Row

_WAITING = text("state = 'waiting'")


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


class OutboxRow(Row, table=True):
    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name="state"),
        CheckConstraint("attempts >= 0", name="attempts"),
        CheckConstraint("(state = 'waiting') = (ended_at_us IS NULL)", name="ended"),
        Index("ix_outbox_due", "kind", "next_at_us", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("ix_outbox_stream", "stream", "seq"),
        Index("ix_outbox_tenant", "tenant_id", "state", "id"),
    )

    id: str = Field(primary_key=True)
    kind: str
    tenant_id: str
    stream: str
    """What is sent to one place in one order"""
    seq: int = Field(sa_type=BigInteger)
    ref: str
    """What it is about; whoever sends it makes the body from this and `seq`, so that no content stands here"""
    host: str
    state: str
    attempts: int
    next_at_us: int = Field(sa_type=BigInteger)
    """When it is due; while it is being sent, when that is given up"""
    created_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(default=None, sa_type=BigInteger)
    problem: str | None = None
    """Why the last attempt failed: a code or a status, never what was answered"""


class QuotaRow(Row, table=True):
    __tablename__ = "quotas"

    key: str = Field(primary_key=True)
    minute: int = Field(sa_type=BigInteger)
    """Minutes since the epoch"""
    used: int
