"""A session as it stands: its row and its cap in one read, and the status that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, literal
from sqlmodel import col, or_, select

from ledger.accounts.tables import SessionRow
from ledger.spend import BudgetRow

Status = Literal["active", "exhausted", "expired", "ended", "revoked"]
STATUSES: tuple[Status, ...] = ("active", "exhausted", "expired", "ended", "revoked")


@dataclass(frozen=True)
class Session:
    id: str
    tenant_id: str
    agent_identifier: str | None
    agent_id: str | None
    total_usd_nanos: int
    spent_usd_nanos: int
    held_usd_nanos: int
    room_usd_nanos: int
    """what may still be spent; nothing once its time is over"""
    status: Status
    policy: Mapping[str, Any]
    created_at_us: int
    expires_at_us: int


def status_at(now_us: int) -> ColumnElement[str]:
    """`exhausted`: a call was refused for lack of room, or all is spent. What fits is still served."""
    refused = col(SessionRow.refused_at_us).is_not(None)
    return case(
        (col(SessionRow.state) != "open", col(SessionRow.state)),
        (col(SessionRow.expires_at_us) <= now_us, "expired"),
        (or_(refused, col(BudgetRow.spent_usd_nanos) >= col(BudgetRow.limit_usd_nanos)), "exhausted"),
        else_="active",
    )


def sessions_at(now_us: int) -> Any:
    """The statement that `session_of` reads the rows of."""
    cap_of = literal("session:").concat(col(SessionRow.id))
    return select(SessionRow, BudgetRow, status_at(now_us)).join(BudgetRow, col(BudgetRow.id) == cap_of)


def session_of(row: SessionRow, budget: BudgetRow, status: Status) -> Session:
    room = budget.limit_usd_nanos - budget.spent_usd_nanos - budget.held_usd_nanos
    return Session(
        id=row.id,
        tenant_id=row.tenant_id,
        agent_identifier=row.agent_identifier,
        agent_id=row.agent_id,
        total_usd_nanos=row.total_usd_nanos,
        spent_usd_nanos=budget.spent_usd_nanos,
        held_usd_nanos=budget.held_usd_nanos,
        room_usd_nanos=room if status in ("active", "exhausted") else 0,
        status=status,
        policy=row.policy or {},
        created_at_us=row.created_at_us,
        expires_at_us=row.expires_at_us,
    )
