"""Which process has which task in hand: leases are renewed together, and what lapsed is found."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update

from agentnode.a2a.log import task_of
from agentnode.a2a.states import CANCELED
from agentnode.a2a.tables import TASK, Task
from ledger.clock import SECOND_US, Clock
from ledger.database import Database

_MOST_AT_ONCE = 100


class Leases:
    """The leases of `owner`, this process."""

    def __init__(self, database: Database, clock: Clock, owner: str, lease_s: float) -> None:
        self.owner = owner
        self._database = database
        self._clock = clock
        self._lease_us = int(lease_s * SECOND_US)

    def until_us(self) -> int:
        """When a lease taken now runs out."""
        return self._clock.now_us() + self._lease_us

    async def renew(self, task_ids: Collection[str]) -> list[str]:
        """Keep what is in hand here; which of it was cancelled or taken over elsewhere."""
        mine = TASK.c.id.in_(sorted(task_ids))
        kept = update(TASK).where(mine, TASK.c.lease_owner == self.owner).values(lease_until_us=self.until_us())
        lost = select(TASK.c.id).where(mine, (TASK.c.state == CANCELED) | (TASK.c.lease_owner != self.owner))
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.execute(kept)
            return list((await connection.execute(lost)).scalars())

    async def let_go(self) -> None:
        """This process stops: what it has in hand is for the others, at once."""
        async with self._database.write() as session:
            mine = update(TASK).where(TASK.c.lease_owner == self.owner)
            await (await session.connection()).execute(mine.values(lease_until_us=0))

    async def lapsed(self) -> list[Task]:
        """Tasks whose worker is gone."""
        return await self._some(TASK.c.lease_until_us <= self._clock.now_us())

    async def to_look_at(self) -> list[Task]:
        """Tasks that nobody is paying whose quote has run out, or whose last payment was cut off a while ago."""
        return await self._some((TASK.c.expires_at_us <= self._clock.now_us()) & TASK.c.lease_until_us.is_(None))

    async def _some(self, which: object) -> list[Task]:
        found = select(TASK).where(which).order_by(TASK.c.id).limit(_MOST_AT_ONCE)  # type: ignore[arg-type]
        async with self._database.read() as session:
            return [task_of(row) for row in await (await session.connection()).execute(found)]
