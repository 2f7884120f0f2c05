"""Policies: who may set which, and their effect on the budgets of the period, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import col, select

from ledger.accounts.account import plan_of
from ledger.accounts.accounts import key_row
from ledger.accounts.book import AccountBook, DefaultsOf
from ledger.accounts.documents import document_of, said_in
from ledger.accounts.policy import NOTHING_SAID, Policy, Said, lowest, policy_of, wider_than
from ledger.accounts.standing import lock_tenant, read_standing
from ledger.accounts.tables import ApiKeyRow, PolicyRow, TenantRow
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, PolicyWider
from ledger.spend import NewBudget, refit


class Policies:
    """The operator's frame of a tenant, the tenant's own policy within it, and what narrows that for a key.

    A limit counts on the current period's budgets from the very transaction that sets it, in every process; names of
    models and the like within a second.
    """

    def __init__(self, database: Database, clock: Clock, book: AccountBook, defaults_of: DefaultsOf) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._defaults_of = defaults_of

    async def of_tenant(self, tenant_id: str) -> Policy:
        """What holds for the tenant's calls. Raises NotFound."""
        return await self._policy(tenant_id, None)

    async def of_key(self, tenant_id: str, key_id: str) -> Policy:
        """What holds for calls with the key. Raises NotFound for a key of another tenant."""
        async with self._database.read() as session:
            await key_row(session, tenant_id, key_id)
        return await self._policy(tenant_id, key_id)

    async def frame_tenant(self, tenant_id: str, document: Mapping[str, Any]) -> Policy:
        """The operator's: it may be wider than the defaults, and says how the tenant is billed. Raises NotFound."""
        said = said_in(document)
        async with self._database.write() as session:
            await lock_tenant(session, tenant_id)
            await self._set(session, tenant_id, "operator", tenant_id, said)
        return await self.of_tenant(tenant_id)

    async def set_tenant(self, tenant_id: str, document: Mapping[str, Any]) -> Policy:
        """The tenant's own, in place of what it said before.

        Raises PolicyWider where a limit is above the operator's frame, or the billing another.
        """
        said = said_in(document)
        async with self._database.write() as session:
            await lock_tenant(session, tenant_id)
            frame = await self._frame(session, tenant_id)
            if (wider := wider_than(said, frame.limits)) is not None:
                raise PolicyWider(wider, "the operator's frame")
            if said.billing not in (None, frame.billing):
                raise PolicyWider("billing", "the operator's frame")
            await self._set(session, tenant_id, "tenant", tenant_id, said)
        return await self.of_tenant(tenant_id)

    async def set_key(self, tenant_id: str, key_id: str, document: Mapping[str, Any]) -> Policy:
        """What narrows the tenant's policy for a key, in place of what did before.

        Raises PolicyWider where a limit is above the tenant's, InvalidInput for a key with the scope `admin` and for
        what only a tenant has, NotFound for a key of another tenant.
        """
        said = said_in(document)
        for name in ("billing", "budgets"):
            if getattr(said, name):
                raise InvalidInput(name, "is the tenant's, not a key's: set it in the tenant's policy")
        async with self._database.write() as session:
            await lock_tenant(session, tenant_id)
            row = await key_row(session, tenant_id, key_id)
            if "admin" in row.scopes and said != NOTHING_SAID:
                raise InvalidInput("policy", "has no hold on a key with the scope admin, which could undo it")
            key, now_us = (tenant_id, None, None), self._clock.now_us()
            of_tenant = await read_standing(session, key, self._defaults_of(tenant_id), now_us)
            if (wider := wider_than(said, of_tenant.policy.limits)) is not None:
                raise PolicyWider(wider, "the tenant's policy")
            await self._set(session, tenant_id, "key", key_id, said)
        return await self.of_key(tenant_id, key_id)

    async def _set(self, session: AsyncSession, tenant_id: str, scope: str, ref: str, said: Said) -> None:
        now_us = self._clock.now_us()
        await session.merge(PolicyRow(scope=scope, ref=ref, document=document_of(said), set_at_us=now_us))
        await session.flush()
        await refit(session, await self._limited(session, tenant_id, now_us))
        self._book.forget(tenant_id)

    async def _limited(self, session: AsyncSession, tenant_id: str, now_us: int) -> list[NewBudget]:
        """Every budget that the tenant's policies limit now, opened or not."""
        with_policy = (
            select(ApiKeyRow.id)
            .join(PolicyRow, col(PolicyRow.ref) == col(ApiKeyRow.id))
            .where(PolicyRow.scope == "key", ApiKeyRow.tenant_id == tenant_id)
        )
        limited: dict[str, NewBudget] = {}
        for key_id in (None, *(await session.exec(with_policy)).all()):
            standing = await read_standing(session, (tenant_id, key_id, None), self._defaults_of(tenant_id), now_us)
            plan = plan_of(standing, lowest(standing.policy.budgets))
            limited |= {budget.id: budget for budget in plan.limited}
        return list(limited.values())

    async def _frame(self, session: AsyncSession, tenant_id: str) -> Policy:
        """What would hold if the tenant said nothing."""
        tenant = await session.get(TenantRow, tenant_id)
        row = await session.get(PolicyRow, ("operator", tenant_id))
        assert tenant is not None
        operator = said_in(None if row is None else row.document)
        return policy_of(self._defaults_of(tenant_id), tenant.billing, operator, NOTHING_SAID)

    async def _policy(self, tenant_id: str, key_id: str | None) -> Policy:
        async with self._database.read() as session:
            key, now_us = (tenant_id, key_id, None), self._clock.now_us()
            return (await read_standing(session, key, self._defaults_of(tenant_id), now_us)).policy
