"""Reads what the database says of a caller: tenant, key and session become one standing."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import and_, col, or_, select

from ledger.accounts.account import Standing
from ledger.accounts.documents import said_in
from ledger.accounts.periods import current_periods
from ledger.accounts.policy import NOTHING_SAID, Limits, Said, limits_of, policy_of
from ledger.accounts.tables import PolicyRow, SessionRow, TenantRow
from ledger.database import AsyncSession
from ledger.errors import NotFound, SessionEnded


async def read_standing(
    session: AsyncSession, key: tuple[str, str | None, str | None], defaults: Limits, now_us: int
) -> Standing:
    """`key`: ids of tenant, key and session. Raises NotFound, and SessionEnded."""
    tenant_id, key_id, session_id = key
    tenant = await session.get(TenantRow, tenant_id)
    if tenant is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    operator, own, by_key = await read_policies(session, tenant_id, key_id)
    row = None if session_id is None else await session.get(SessionRow, session_id)
    if session_id is not None and (row is None or row.tenant_id != tenant_id):
        raise NotFound(f"there is no session {session_id}")
    if row is not None and row.state != "open":
        raise SessionEnded(f"{session_id} is {row.state}; make another session")
    by_session = NOTHING_SAID if row is None else said_in(row.policy)
    return Standing(
        tenant_id,
        key_id,
        session_id,
        policy_of(defaults, tenant.billing, operator, own, by_key, by_session),
        await current_periods(session, tenant_id, now_us),
        asdict(limits_of(defaults, (operator, own))),
        by_key.limits,
        () if row is None else tuple(agent for agent in (row.agent_identifier, row.agent_id) if agent is not None),
        None if row is None else row.expires_at_us,
    )


async def lock_tenant(session: AsyncSession, tenant_id: str) -> TenantRow:
    """Until the transaction ends nobody else sees to the tenant's budgets or policies. Raises NotFound."""
    asked = select(TenantRow).where(TenantRow.id == tenant_id).with_for_update(key_share=True)
    row = (await session.exec(asked)).one_or_none()
    if row is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    return row


async def read_policies(session: AsyncSession, tenant_id: str, key_id: str | None) -> tuple[Said, Said, Said]:
    """What the operator, the tenant and the key's policy say."""
    of_key = and_(col(PolicyRow.scope) == "key", col(PolicyRow.ref) == key_id)
    of_tenant = and_(col(PolicyRow.scope).in_(("operator", "tenant")), col(PolicyRow.ref) == tenant_id)
    rows = (await session.exec(select(PolicyRow).where(or_(of_tenant, of_key)))).all()
    said = {row.scope: said_in(row.document) for row in rows}
    return said.get("operator", NOTHING_SAID), said.get("tenant", NOTHING_SAID), said.get("key", NOTHING_SAID)
