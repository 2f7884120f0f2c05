"""How uses end: captured, released, or left to the chain once a payment signed under them has left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlmodel import select

from ledger.clock import Clock
from ledger.database import Database
from ledger.errors import HoldEnded, NotFound
from ledger.events import EventDraft
from ledger.spend import Spend
from mandates.errors import BudgetExceeded, MandateRevoked, UseSent
from mandates.register import Register
from mandates.tables import MandateUseRow

_PAYEE_ACCOUNT = "payee"


class Endings:
    def __init__(self, database: Database, spend: Spend, clock: Clock, register: Register) -> None:
        self._database = database
        self._spend = spend
        self._clock = clock
        self._register = register

    async def capture(
        self, tenant_id: str, mandate_id: str, use_id: str, amount_usd_nanos: int, event: EventDraft | None = None
    ) -> dict[str, Any]:
        """`{use, mandate}`: spends at most what was authorised, gives the rest back, records the event with it.

        The same capture again is answered as before. What was signed is what moves: a use that was sent is captured
        whole, and with the event of who has the chain's word for it. Raises NotFound, HoldEnded, MandateRevoked where
        it was revoked before anything was sent, BudgetExceeded, UseSent.
        """
        use = await self._register.use(tenant_id, mandate_id, use_id)
        if use.state != "held":
            return await self._captured_before(use, amount_usd_nanos)
        if amount_usd_nanos > use.amount_usd_nanos:
            raise BudgetExceeded(amount_usd_nanos, use.amount_usd_nanos, "what the use was authorised for")
        if use.sent_at_us is None:
            await self._refuse_if_revoked(use)
        elif event is None:
            raise UseSent("a payment signed under this use has left; only the chain ends it")
        elif amount_usd_nanos != use.amount_usd_nanos:
            raise UseSent("a payment of the whole amount was signed under this use; capture the whole")
        if event is not None:
            event = replace(event, mandate_id=mandate_id, mandate_use_id=use_id)
        try:
            captured = await self._spend.capture(use.hold_id, amount_usd_nanos, to_account=_PAYEE_ACCOUNT, event=event)
        except HoldEnded:
            await self._register.follow_hold(use)
            await self._refuse_if_revoked(use)
            raise
        await self._register.end(use, captured.captured_usd_nanos)
        return await self._register.shown_use(await self._register.use(tenant_id, mandate_id, use_id))

    async def release(self, tenant_id: str, mandate_id: str, use_id: str) -> dict[str, Any]:
        """`{use, mandate}`: gives back what was held. Again: as before.

        Raises NotFound, HoldEnded where it was captured, UseSent where a payment signed under it has left: then
        `lapse`, once the chain has said that it cannot move.
        """
        use = await self._register.use(tenant_id, mandate_id, use_id)
        if use.state == "held" and use.sent_at_us is not None:
            raise UseSent("a payment signed under this use has left; only the chain ends it")
        return await self._give_back(use)

    async def lapse(self, tenant_id: str, mandate_id: str, use_id: str) -> dict[str, Any]:
        """`{use, mandate}`: gives back what was held, sent or not.

        Only for who has it from the chain that the payment signed under this use was not made and no longer can be.
        Raises NotFound, HoldEnded where it was captured.
        """
        return await self._give_back(await self._register.use(tenant_id, mandate_id, use_id))

    async def mark_sent(self, tenant_id: str, use_id: str) -> None:
        """To be called before a payment authorisation is signed under the use: from here on only the chain ends it.

        Raises NotFound, HoldEnded, and MandateRevoked, MandateSuspended or MandateExpired where the mandate was
        stopped since: then nothing may be signed.
        """
        mine = select(MandateUseRow).where(MandateUseRow.tenant_id == tenant_id, MandateUseRow.id == use_id)
        async with self._database.read() as session:
            use = (await session.exec(mine)).one_or_none()
        if use is None:
            raise NotFound(f"there is no use {use_id}")
        async with self._database.write() as session:
            # Under the mandate's lock a revocation comes before or after: before, nothing is signed; after, it sees
            # that this use was sent and leaves it to the chain.
            mandate = await self._register.locked(session, use.mandate_id)
            row = await session.get(MandateUseRow, (use.mandate_id, use.id))
            if (stopped := self._register.stopped(mandate)) is not None:
                raise stopped
            if row is None or row.state != "held":
                raise HoldEnded("the use was captured or released before")
            if row.sent_at_us is None:
                row.sent_at_us = self._clock.now_us()
        hold = await self._spend.hold(use.hold_id)
        if hold is None:
            raise HoldEnded("the use holds nothing")
        try:
            await self._spend.mark_sent(hold)
        except HoldEnded:
            await self._register.follow_hold(use)
            raise

    async def _captured_before(self, use: MandateUseRow, amount_usd_nanos: int) -> dict[str, Any]:
        if use.state == "captured" and use.captured_usd_nanos == amount_usd_nanos:
            return await self._register.shown_use(use)
        await self._refuse_if_revoked(use)
        raise HoldEnded(f"the use was {use.state} before")

    async def _refuse_if_revoked(self, use: MandateUseRow) -> None:
        if (await self._register.find(use.mandate_id)).revoked_at_us is not None:
            raise MandateRevoked("the mandate was revoked before the use was captured")

    async def _give_back(self, use: MandateUseRow) -> dict[str, Any]:
        if use.state == "captured":
            raise HoldEnded("the use was captured before")
        if use.state == "held":
            try:
                await self._spend.release(use.hold_id)
            finally:
                await self._register.follow_hold(use)
        return await self._register.shown_use(await self._register.use(use.tenant_id, use.mandate_id, use.id))
