"""Mandates as they stand: found, counted, shown, and their uses brought up to the holds that they stand for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func
from sqlmodel import col, delete, select, update

from ledger.clock import SECOND_US, Clock, rfc3339, seconds
from ledger.database import AsyncSession, Database
from ledger.errors import AgentNodeError, NotFound
from ledger.money import usd_fields
from ledger.spend import Budget, Spend
from mandates import policy
from mandates.errors import MandateNotFound
from mandates.policy import Standing
from mandates.tables import MandateRow, MandateUseRow


class Register:
    def __init__(self, database: Database, spend: Spend, clock: Clock) -> None:
        self._database = database
        self._spend = spend
        self._clock = clock

    def now_s(self) -> int:
        return seconds(self._clock.now_us())

    async def find(self, mandate_id: str, owner: str | None = None) -> MandateRow:
        """The mandate, of this tenant if one is named. Raises MandateNotFound."""
        async with self._database.read() as session:
            row = await session.get(MandateRow, mandate_id)
        if row is None or owner not in (None, row.tenant_id):
            raise MandateNotFound(f"there is no mandate {mandate_id}")
        return row

    async def locked(self, session: AsyncSession, mandate_id: str) -> MandateRow:
        """The mandate, which nobody else changes or counts until the transaction ends."""
        mine = select(MandateRow).where(MandateRow.id == mandate_id).with_for_update(key_share=True)
        return (await session.exec(mine)).one()

    async def use(self, tenant_id: str, mandate_id: str, use_id: str) -> MandateUseRow:
        """The tenant's use. Raises NotFound, and MandateNotFound where there is no such mandate."""
        async with self._database.read() as session:
            row = await session.get(MandateUseRow, (mandate_id, use_id))
        if row is None:
            await self.find(mandate_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound(f"there is no use {use_id} of mandate {mandate_id}")
        return row

    async def budget(self, mandate: MandateRow) -> Budget:
        budget = await self._spend.budget(mandate.id)
        assert budget is not None, "a mandate's budget is opened before its row is written"
        return budget

    async def standing(self, mandate: MandateRow) -> Standing:
        if mandate.terms.counts_uses:
            await self.follow_lapsed(mandate.id)
        budget = await self.budget(mandate)
        async with self._database.read() as session:
            return await self.count(session, mandate, budget)

    async def count(self, session: AsyncSession, mandate: MandateRow, budget: Budget) -> Standing:
        """What has become of the mandate; its uses and items are counted in the caller's transaction."""
        counted: dict[str, dict[str | None, int]] = {"held": {}, "captured": {}}
        if mandate.terms.counts_uses:
            state, item_id = col(MandateUseRow.state), col(MandateUseRow.item_id)
            taken = (col(MandateUseRow.mandate_id) == mandate.id, state != "released")
            found = select(state, item_id, func.count()).where(*taken).group_by(state, item_id)
            for in_state, of_item, number in await session.exec(found):
                counted[in_state][of_item] = number
        return Standing(
            spent_usd_nanos=budget.spent_usd_nanos,
            held_usd_nanos=budget.held_usd_nanos,
            uses_held=sum(counted["held"].values()),
            uses_captured=sum(counted["captured"].values()),
            items_held=frozenset(item for item in counted["held"] if item is not None),
            items_captured=frozenset(item for item in counted["captured"] if item is not None),
            revoked=mandate.revoked_at_us is not None,
            suspended=mandate.suspended_at_us is not None,
        )

    async def shown(self, mandate: MandateRow) -> dict[str, Any]:
        """The mandate as answers show it."""
        return _shown(mandate, await self.standing(mandate), self.now_s())

    async def shown_use(self, use: MandateUseRow) -> dict[str, Any]:
        """`{use, mandate}`, as the answers to a use show them."""
        mandate = await self.find(use.mandate_id)
        standing = await self.standing(mandate)
        remaining = usd_fields("remaining_usd", policy.room_usd_nanos(mandate.terms, standing))
        return {"use": shown_use(use) | remaining, "mandate": _shown(mandate, standing, self.now_s())}

    def stopped(self, mandate: MandateRow) -> AgentNodeError | None:
        """Why nothing may be signed under it now, whatever was authorised before."""
        stands = Standing(revoked=mandate.revoked_at_us is not None, suspended=mandate.suspended_at_us is not None)
        return policy.stopped(mandate.terms, stands, self.now_s())

    async def held_uses(self, mandate_id: str) -> list[MandateUseRow]:
        of_mandate = (MandateUseRow.mandate_id == mandate_id, MandateUseRow.state == "held")
        async with self._database.read() as session:
            return list(await session.exec(select(MandateUseRow).where(*of_mandate)))

    async def follow_lapsed(self, mandate_id: str) -> None:
        """Bring up to their holds those uses whose lease has ended: the sweeper, or a process that ended, left them."""
        now_us = self._clock.now_us()
        for use in await self.held_uses(mandate_id):
            if use.expires_at_us <= now_us:
                await self.follow_hold(use)

    async def follow_hold(self, use: MandateUseRow) -> None:
        """Write down how the use's hold has ended, if it has."""
        hold = await self._spend.hold(use.hold_id)
        if hold is None:
            await self.forget(use)
        elif hold.state == "captured":
            await self.end(use, hold.captured_usd_nanos)
        elif hold.state == "released":
            await self.end(use, None)

    async def end(self, use: MandateUseRow, captured_usd_nanos: int | None) -> None:
        """The use was captured at this amount, or released (None)."""
        ending = {
            "state": "released" if captured_usd_nanos is None else "captured",
            "captured_usd_nanos": captured_usd_nanos,
            "ended_at_us": self._clock.now_us(),
        }
        async with self._database.write() as session:
            await session.exec(update(MandateUseRow).where(*_still_held(use)).values(**ending))

    async def forget(self, use: MandateUseRow) -> None:
        """Remove a use that took nothing, so that the same request can be tried again."""
        unsent = col(MandateUseRow.sent_at_us).is_(None)
        async with self._database.write() as session:
            await session.exec(delete(MandateUseRow).where(*_still_held(use), unsent))


def shown_use(use: MandateUseRow) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": use.id,
        "mandate_id": use.mandate_id,
        "status": use.state,
        **usd_fields("amount_usd", use.amount_usd_nanos),
        "category": use.category,
        "payee": use.payee,
        "audience": use.audience,
        "task_id": use.task_id,
        "item_id": use.item_id,
        "created_at": rfc3339(use.created_at_us),
        "expires_at": rfc3339(use.expires_at_us // SECOND_US * SECOND_US),
    }
    if use.captured_usd_nanos is not None:
        shown |= usd_fields("captured_usd", use.captured_usd_nanos)
    return shown


def _shown(mandate: MandateRow, standing: Standing, now_s: int) -> dict[str, Any]:
    terms = mandate.terms
    return {
        "id": mandate.id,
        "tenant_id": mandate.tenant_id,
        "digest": mandate.digest,
        **terms.shown(),
        "signature": mandate.signature,
        **usd_fields("amount_spent_usd", standing.spent_usd_nanos),
        **usd_fields("amount_held_usd", standing.held_usd_nanos),
        **usd_fields("remaining_usd", policy.room_usd_nanos(terms, standing)),
        "status": policy.status(terms, standing, now_s),
        "created_at": rfc3339(mandate.created_at_us),
        "revoked_at": None if mandate.revoked_at_us is None else rfc3339(mandate.revoked_at_us),
    }


def _still_held(use: MandateUseRow) -> tuple[Any, ...]:
    return (
        col(MandateUseRow.mandate_id) == use.mandate_id,
        col(MandateUseRow.id) == use.id,
        col(MandateUseRow.hold_id) == use.hold_id,
        col(MandateUseRow.state) == "held",
    )
