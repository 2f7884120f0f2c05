"""Ends the holds whose owners let the lease run out: they died, or stood still for too long."""

from __future__ import annotations

import asyncio

from sqlmodel import col, or_, select

from ledger.clock import Clock
from ledger.database import Database
from ledger.spend.spend import Spend
from ledger.spend.tables import HoldRow

_AT_ONCE = 500


class Sweeper:
    """Never sent: released. Sent: captures the floor and records the event as an estimate. Sent and to be ended by
    the chain: left alone, as that money may still move."""

    def __init__(self, database: Database, spend: Spend, clock: Clock) -> None:
        self._database = database
        self._spend = spend
        self._clock = clock

    async def sweep(self) -> int:
        """How many holds were ended. Raises DatabaseUnavailable."""
        ended = 0
        while True:
            candidates = await self._candidates()
            # Read without a lock, and checked again in the batch: locks are taken on budgets first, by everybody.
            done = await asyncio.gather(*(self._spend.expire(hold_id) for hold_id in candidates))
            ended += sum(done)
            if len(candidates) < _AT_ONCE or not any(done):
                return ended

    async def _candidates(self) -> list[str]:
        due = (
            select(HoldRow.id)
            .where(HoldRow.state == "held", HoldRow.lease_until_us <= self._clock.now_us())
            .where(or_(HoldRow.ends_by == "lease", col(HoldRow.sent_at_us).is_(None)))
            .order_by(col(HoldRow.lease_until_us))
            .limit(_AT_ONCE)
        )
        async with self._database.read() as session:
            return list((await session.exec(due)).all())
