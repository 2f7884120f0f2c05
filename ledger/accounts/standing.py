"""Reads what the database says of a caller: tenant, key and session become one standing, in one statement."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import ScalarSelect, and_, bindparam, func, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from ledger.accounts.account import Standing
from ledger.accounts.documents import said_in
from ledger.accounts.periods import Periods, periods_at
from ledger.accounts.policy import Limits, limits_of, policy_of
from ledger.accounts.tables import PolicyRow, SessionRow, TenantRow
from ledger.database import AsyncSession
from ledger.errors import NotFound, SessionEnded
from ledger.spend import BudgetRow


async def read_standing(
    session: AsyncSession, key: tuple[str, str | None, str | None], defaults: Limits, now_us: int
) -> Standing:
    """`key`: ids of tenant, key and session. Raises NotFound, and SessionEnded."""
    tenant_id, key_id, session_id = key
    ids = {"tenant_id": tenant_id, "key_id": key_id, "session_id": session_id}
    row = (await (await session.connection()).execute(_ASKED, ids)).one_or_none()
    if row is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    if session_id is not None and row.state is None:
        raise NotFound(f"there is no session {session_id}")
    if row.state not in (None, "open"):
        raise SessionEnded(f"{session_id} is {row.state}; make another session")
    operator, own, by_key, by_session = map(said_in, (row.by_operator, row.by_tenant, row.by_key, row.by_session))
    now = periods_at(now_us)
    return Standing(
        tenant_id,
        key_id,
        session_id,
        policy_of(defaults, row.billing, operator, own, by_key, by_session),
        # A clock that moves back reopens nothing: the last period that has budgets counts.
        Periods(max(now.hour, row.hour or ""), max(now.day, row.day or "")),
        asdict(limits_of(defaults, (operator, own))),
        by_key.limits,
        tuple(agent for agent in (row.agent_identifier, row.agent_id) if agent is not None),
        row.expires_at_us,
    )


async def lock_tenant(session: AsyncSession, tenant_id: str) -> None:
    """Until the transaction ends nobody else sees to the tenant's budgets or policies. Raises NotFound."""
    asked = select(col(TenantRow.id)).where(col(TenantRow.id) == tenant_id).with_for_update(key_share=True)
    if (await (await session.connection()).execute(asked)).first() is None:
        raise NotFound(f"there is no tenant {tenant_id}")


def _latest(kind: str) -> ScalarSelect[str | None]:
    of_tenant = and_(col(BudgetRow.tenant_id) == bindparam("tenant_id"), col(BudgetRow.kind) == kind)
    return select(func.max(col(BudgetRow.period))).where(of_tenant).scalar_subquery()


def _statement() -> Any:
    voices = {"operator": "tenant_id", "tenant": "tenant_id", "key": "key_id"}
    rows = {scope: aliased(PolicyRow) for scope in voices}
    asked: Any = select(
        col(TenantRow.billing),
        *(col(row.document).label(f"by_{scope}") for scope, row in rows.items()),
        col(SessionRow.policy).label("by_session"),
        col(SessionRow.state),
        col(SessionRow.agent_identifier),
        col(SessionRow.agent_id),
        col(SessionRow.expires_at_us),
        _latest("rate").label("hour"),
        _latest("day").label("day"),
    ).select_from(TenantRow)
    for scope, ref in voices.items():
        said = and_(col(rows[scope].scope) == scope, col(rows[scope].ref) == bindparam(ref))
        asked = asked.join(rows[scope], said, isouter=True)
    in_session = and_(
        col(SessionRow.id) == bindparam("session_id"), col(SessionRow.tenant_id) == bindparam("tenant_id")
    )
    return asked.join(SessionRow, in_session, isouter=True).where(col(TenantRow.id) == bindparam("tenant_id"))


_ASKED = _statement()
