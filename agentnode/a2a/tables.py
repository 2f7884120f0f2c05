"""Rows of tasks and of their events. What a task says is in the vault; here is only what happened when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, CheckConstraint, Index, Table, text
from sqlmodel import Field

from ledger.database import Row

_LEASED = text("lease_until_us IS NOT NULL")
_QUOTED = text("expires_at_us IS NOT NULL")
_PAID = text("payer IS NOT NULL")


class TaskRow(Row, table=True):
    __tablename__ = "task"
    __table_args__ = (
        CheckConstraint(
            "state IN ('submitted', 'working', 'input-required', 'completed', 'failed', 'canceled', 'rejected')",
            name="state",
        ),
        CheckConstraint("dialect IN ('1.0', '0.3', 'p402')", name="dialect"),
        CheckConstraint("x402_version IN (1, 2)", name="x402_version"),
        CheckConstraint("price_usd_nanos >= 0", name="price"),
        CheckConstraint("seq >= 1 AND version >= 1", name="counted"),
        CheckConstraint(
            "(state IN ('completed', 'failed', 'canceled', 'rejected')) = (ended_at_us IS NOT NULL)", name="ended"
        ),
        CheckConstraint("ended_at_us IS NULL OR (lease_until_us IS NULL AND open_key IS NULL)", name="ended_is_free"),
        CheckConstraint("push_since_us > 0", name="push_since"),
        Index("ix_task_tenant", "tenant_id", "status_at_us", "id"),
        Index("ix_task_context", "context_id", "status_at_us", "id"),
        Index("ix_task_payer", "payer", "status_at_us", "id", sqlite_where=_PAID, postgresql_where=_PAID),
        Index("ix_task_lease", "lease_until_us", sqlite_where=_LEASED, postgresql_where=_LEASED),
        Index("ix_task_quote", "expires_at_us", sqlite_where=_QUOTED, postgresql_where=_QUOTED),
    )

    id: str = Field(primary_key=True)
    context_id: str
    tenant_id: str
    """Whose it is, and whose key seals its content; `public` for callers without a key."""
    payer: str | None = None
    skill: str
    dialect: str
    """The protocol it was asked in"""
    x402_version: int
    price_usd_nanos: int = Field(sa_type=BigInteger)
    state: str
    seq: int = Field(sa_type=BigInteger)
    """Number of its last event; the next is numbered under this row's lock, so that no reader misses one"""
    version: int = Field(sa_type=BigInteger)
    fence: int = Field(sa_type=BigInteger)
    """Grows each time that a worker takes the task over"""
    lease_owner: str | None = None
    lease_until_us: int | None = Field(default=None, sa_type=BigInteger)
    expires_at_us: int | None = Field(default=None, sa_type=BigInteger)
    """When its payment is looked at, while it waits for one: at its quote's end, sooner where one was cut off"""
    open_key: str | None = Field(default=None, unique=True)
    """Caller, message id and parameters: an equal message is the same task, until it ends"""
    receipt_id: str | None = None
    payment_id: str | None = None
    created_at_us: int = Field(sa_type=BigInteger)
    status_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(default=None, sa_type=BigInteger)
    push_since_us: int | None = Field(default=None, sa_type=BigInteger)
    """Since when somebody is to be told of it"""


class TaskEventRow(Row, table=True):
    __tablename__ = "task_event"

    task_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    kind: str
    state: str | None = None
    at_us: int = Field(sa_type=BigInteger)


TASK = cast(Table, cast(Any, TaskRow).__table__)
TASK_EVENT = cast(Table, cast(Any, TaskEventRow).__table__)


@dataclass(slots=True)
class Task:
    """A task's row in memory. Times are Unix microseconds; the fields are TaskRow's."""

    id: str
    context_id: str
    tenant_id: str
    skill: str
    dialect: str
    x402_version: int
    price_usd_nanos: int
    created_at_us: int
    state: str = "submitted"
    payer: str | None = None
    seq: int = 0
    version: int = 0
    fence: int = 0
    lease_owner: str | None = None
    lease_until_us: int | None = None
    expires_at_us: int | None = None
    open_key: str | None = None
    receipt_id: str | None = None
    payment_id: str | None = None
    push_since_us: int | None = None
    status_at_us: int = 0
    ended_at_us: int | None = None

    @classmethod
    def of_row(cls, row: Any) -> Task:
        return cls(**row._mapping)

    @property
    def ended(self) -> bool:
        return self.ended_at_us is not None

    @property
    def paid(self) -> bool:
        return self.receipt_id is not None

    def leased(self, now_us: int) -> bool:
        """Whether a worker has it in hand."""
        return self.lease_until_us is not None and self.lease_until_us > now_us
