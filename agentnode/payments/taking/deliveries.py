"""One payment buys one delivery: who is at work on it, whether it is done, and the answer for who did not get it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from agentnode.payments.errors import PaymentRefused
from agentnode.payments.receipts.book import check_counter
from agentnode.payments.tables import Delivery
from agentnode.payments.taking.reply import Reply
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import Conflict, IdempotencyConflict, RequestInProgress
from ledger.vault import Vault
from ledger.work import ClaimLost

LEASE_S = 60
KEEP_S = 24 * 3600
LONGEST_KEPT = 1_000_000
_LOOKED_AT = 20
_TENANT = "public"
"""Whose vault it is: all payers without a key share it."""


@dataclass(frozen=True)
class Wanted:
    """What is to be delivered. `counter` numbers a spend of the receipt that it names."""

    id: str
    payer: str
    input_hash: str
    identifier: str | None = None
    receipt_id: str | None = None
    counter: int | None = None


@dataclass(frozen=True)
class Begun:
    """The right to deliver, until the lease ends."""

    id: str
    fence: int


class Deliveries:
    def __init__(self, database: Database, clock: Clock, vault: Vault, lease_s: float = LEASE_S) -> None:
        self._database, self._clock, self._vault, self.lease_s = database, clock, vault, lease_s

    async def named(self, payer: str, identifier: str) -> str | None:
        """Which delivery the payer gave this name before."""
        asked = select(Delivery.id).where(Delivery.payer == payer, Delivery.identifier == identifier)
        async with self._database.read() as session:
            return (await session.exec(asked)).first()

    async def bought(self, payer: str, input_hash: str) -> Reply | None:
        """The newest answer that the payer has bought to this request; None where none is kept.

        Raises RequestInProgress while one that it pays for is at work.
        """
        asked = select(Delivery).where(Delivery.payer == payer, Delivery.input_hash == input_hash)
        async with self._database.read() as session:
            for row in await session.exec(asked.order_by(col(Delivery.created_at_us).desc()).limit(_LOOKED_AT)):
                if row.state == "working" and row.lease_until_us > self._clock.now_us():
                    raise RequestInProgress("what you pay for is still at work", retry_after_ms=1_000)
                kept = await self._vault.get(session, _TENANT, _ref(row.id), 0)
                if kept is not None:
                    return Reply.unpacked(kept)
        return None

    async def begin(self, wanted: Wanted) -> Begun | Reply:
        """The right to deliver; or the answer, where it was made and the payer may have it again.

        Again: who did not receive it, and who gave it a name. Raises PaymentRefused DUPLICATE_NONCE where it was
        received, or for another request; RequestInProgress while another is at work on it; IdempotencyConflict where
        the payer gave its name to another request; Conflict once the answer is kept no longer.
        """
        try:
            async with self._database.write() as session:
                row = await session.get(Delivery, wanted.id, with_for_update=True)
                if row is not None:
                    return await self._again(session, row, wanted)
                if wanted.receipt_id is not None and wanted.counter is not None:
                    await check_counter(session, wanted.receipt_id, wanted.counter)
                values = vars(wanted) | {"lease_until_us": self._until(), "created_at_us": self._clock.now_us()}
                session.add(Delivery(**values))
                return Begun(wanted.id, 1)
        except IntegrityError:
            # The same again at the same moment, or its name given to another.
            named = wanted.identifier and await self.named(wanted.payer, wanted.identifier)
            if named and named != wanted.id:
                raise IdempotencyConflict("another purchase of this payer has the same payment-identifier") from None
            raise RequestInProgress("the first of the same requests is still at work", retry_after_ms=1_000) from None

    async def renew(self, begun: Begun) -> None:
        """Raises ClaimLost."""
        async with self._database.write() as session:
            (await self._mine(session, begun)).lease_until_us = self._until()

    async def done(self, begun: Begun, reply: Reply | None) -> None:
        """The work is done: the answer is kept until it was received; a stream has none. Raises ClaimLost."""
        async with self._database.write() as session:
            row = await self._mine(session, begun)
            row.state = "done" if reply is not None else "received"
            if reply is not None and len(reply.content) <= LONGEST_KEPT:
                ends_at_us = self._clock.now_us() + KEEP_S * SECOND_US
                await self._vault.put(session, _TENANT, _ref(begun.id), 0, reply.packed(), ends_at_us)

    async def sent(self, begun: Begun, received: bool) -> None:
        """The answer has left; whether the payer was there to have it. Before that nobody else is given it."""
        async with self._database.write() as session:
            row = await session.get(Delivery, begun.id, with_for_update=True)
            if row is not None and row.state == "done":
                row.state, row.lease_until_us = "received" if received else "done", 0

    async def undo(self, begun: Begun) -> None:
        """Nothing was paid: forget it. Nothing where another has taken it over."""
        async with self._database.write() as session:
            row = await session.get(Delivery, begun.id, with_for_update=True)
            if row is not None and (row.state, row.fence) == ("working", begun.fence):
                await session.delete(row)

    async def give_back(self, begun: Begun) -> None:
        """It may be paid, and is not done: the same payment goes on from here, and no other under its name."""
        async with self._database.write() as session:
            row = await session.get(Delivery, begun.id, with_for_update=True)
            if row is None or (row.state, row.fence) != ("working", begun.fence):
                return
            if row.identifier is None:
                await session.delete(row)
            else:
                row.lease_until_us = 0

    async def _again(self, session: AsyncSession, row: Delivery, wanted: Wanted) -> Begun | Reply:
        if (row.input_hash, row.payer) != (wanted.input_hash, wanted.payer):
            raise PaymentRefused("DUPLICATE_NONCE", "this payment is for another request")
        now_us = self._clock.now_us()
        if row.state != "received" and row.lease_until_us > now_us:
            raise RequestInProgress("the first of the same requests is still at work", retry_after_ms=1_000)
        if row.state == "working":
            row.fence, row.lease_until_us = row.fence + 1, self._until()
            return Begun(row.id, row.fence)
        if row.state == "received" and (wanted.identifier is None or wanted.identifier != row.identifier):
            raise PaymentRefused("DUPLICATE_NONCE", "this payment has bought its delivery")
        kept = await self._vault.get(session, _TENANT, _ref(row.id), 0)
        if kept is None:
            raise Conflict("this was delivered, and the answer is kept no longer, or never was")
        return Reply.unpacked(kept)

    async def _mine(self, session: AsyncSession, begun: Begun) -> Delivery:
        row = await session.get(Delivery, begun.id, with_for_update=True)
        if row is None or (row.state, row.fence) != ("working", begun.fence):
            raise ClaimLost(f"the delivery {begun.id} was taken over")
        return row

    def _until(self) -> int:
        return self._clock.now_us() + int(self.lease_s * SECOND_US)


def _ref(delivery_id: str) -> str:
    return f"delivery:{delivery_id}"
