"""What may still change of settlements that have ended: undone, done after all, or never to be done."""

from __future__ import annotations

from typing import Any

from agentnode.payments.settling.entries import is_paid_for
from agentnode.payments.settling.journal import Journal, Mined
from agentnode.payments.shares import book_again
from agentnode.payments.tables import UNPAID_POINTS, JournalMark, Settlement
from ledger.clock import Clock
from ledger.database import AsyncSession, Database

PAID_TWICE = "the payment had been paid by another authorisation: this one is the payer's, refund it"
UNKNOWN_PURCHASE = "the chain shows this payment, and this database knows no purchase for it"


class Ends:
    """Each change is made only if the entry still stands as it was read: two workers make it once."""

    def __init__(self, journal: Journal, database: Database, clock: Clock) -> None:
        self._journal = journal
        self._database = database
        self._clock = clock

    async def reorged(self, entry: Settlement) -> bool:
        """Its block was undone: its receipt is void, and what was booked for it is booked back."""
        return await self._change(entry, "reorged", point="reorged", look_at_us=self._clock.now_us())

    async def confirmed(self, entry: Settlement, found: Mined) -> bool:
        """Its transfer is on chain after all, or again."""
        return await self._change(entry, "confirmed", **self._journal.moved(found))

    async def abandoned(self, entry: Settlement) -> bool:
        return await self._change(entry, "abandoned", point="abandoned", look_at_us=None)

    async def failed(self, entry: Settlement, failure: str) -> bool:
        """A transfer that was claimed is on the chain no more: another payment may take its place."""
        look_at_us = self._clock.now_us()
        return await self._change(entry, "failed", point="failed", failure=failure, look_at_us=look_at_us)

    async def looked(self, entry: Settlement, look_at_us: int | None) -> None:
        """The chain was asked and said nothing new; None where it need not be asked again."""
        async with self._database.write() as session:
            row = await self._as_read(session, entry)
            if row is not None:
                row.look_at_us = look_at_us
        self._journal.point("looked")

    async def unclaimed(self, entry: Settlement) -> None:
        """A payment to this node of which the chain knows and the journal does not."""
        async with self._database.write() as session:
            session.add(entry)
        self._journal.point("unclaimed")

    async def searched(self, network: str, block: int, older: bool = False, kept: int = 0) -> int:
        """Up to this block the chain was searched; `older` where this database has forgotten what was. The next beat,
        which is later than what the data folder has `kept`."""
        async with self._database.write() as session:
            mark = await session.get(JournalMark, network, with_for_update=True)
            mark = mark or JournalMark(network=network, searched_block=block)
            mark.searched_block = max(mark.searched_block, block)
            mark.beat = max(mark.beat, kept) + 1
            if older:
                mark.older_at_us = self._clock.now_us()
            session.add(mark)
            beat = mark.beat
        self._journal.point("searched")
        return beat

    async def beat(self, network: str) -> int:
        """The next beat; 0 where none was counted yet."""
        async with self._database.write() as session:
            mark = await session.get(JournalMark, network, with_for_update=True)
            if mark is None:
                return 0
            mark.beat += 1
            beat = mark.beat
        self._journal.point("beat")
        return beat

    async def _change(self, entry: Settlement, name: str, **values: Any) -> bool:
        async with self._database.write() as session:
            row = await self._as_read(session, entry)
            if row is None:
                return False
            if row.point in UNPAID_POINTS and name == "confirmed" and await self._paid_by_another(session, row):
                values |= {"payment_id": "", "failure": PAID_TWICE}
            await book_again(session, row, name, self._clock.now_us())
            for column, value in {**values, "updated_at_us": self._clock.now_us()}.items():
                setattr(row, column, value)
        self._journal.tell(row)
        self._journal.point(name)
        return True

    async def _as_read(self, session: AsyncSession, entry: Settlement) -> Settlement | None:
        row = await session.get(Settlement, entry.id, with_for_update=True)
        assert row is not None, "journal rows are never deleted"
        stands = ("point", "seq", "payment_id", "tx_hash", "block_hash", "look_at_us")
        return row if all(getattr(row, name) == getattr(entry, name) for name in stands) else None

    async def _paid_by_another(self, session: AsyncSession, row: Settlement) -> bool:
        return bool(row.payment_id) and await is_paid_for(session, row.payment_id, but=row.id)
