"""The tasks that this process has in hand: work goes on as long as its lease, and what another one left is found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from sqlalchemy import ColumnElement, select, update

from agentnode.a2a.states import CANCELED
from agentnode.a2a.tables import TASK, Task
from agentnode.a2a.transitions import Lease
from ledger.clock import SECOND_US, Clock
from ledger.database import Database

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 100


class Leases:
    """Of `owner`, this process; each runs `lease_s` unless it is renewed."""

    def __init__(self, database: Database, clock: Clock, owner: str, lease_s: float) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._lease_us = int(lease_s * SECOND_US)
        self._jobs: dict[str, asyncio.Task[None]] = {}

    def new(self) -> Lease:
        return Lease(self._owner, self._clock.now_us() + self._lease_us)

    def hold(self, task: Task, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do the work on a task that was taken, whoever asked for it stays or goes; its lease is renewed meanwhile."""
        job = asyncio.create_task(work, name=f"a2a {task.id}")
        self._jobs[task.id] = job
        job.add_done_callback(lambda done: self._let_go(task.id, done))
        return job

    def stop(self, task_id: str) -> None:
        """Stop the work at once, without waiting for what the skill waits for."""
        if job := self._jobs.get(task_id):
            job.cancel()

    async def renew(self) -> None:
        """Keep what is in hand here, and stop what was cancelled or taken over elsewhere."""
        if not self._jobs:
            return
        mine = TASK.c.id.in_(sorted(self._jobs))
        kept = update(TASK).where(mine, TASK.c.lease_owner == self._owner).values(lease_until_us=self.new().until_us)
        lost = select(TASK.c.id).where(mine, (TASK.c.state == CANCELED) | (TASK.c.lease_owner != self._owner))
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.execute(kept)
            stopped = list((await connection.execute(lost)).scalars())
        for task_id in stopped:
            self.stop(task_id)

    async def close(self) -> None:
        """Stop all work and leave it to others, at once."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs)
        async with self._database.write() as session:
            mine = update(TASK).where(TASK.c.lease_owner == self._owner)
            await (await session.connection()).execute(mine.values(lease_until_us=0))

    async def lapsed(self) -> list[Task]:
        """Tasks whose worker is gone."""
        return await self._some(TASK.c.lease_until_us <= self._clock.now_us())

    async def to_look_at(self) -> list[Task]:
        """Tasks that nobody is paying whose quote has run out, or whose last payment was cut off a while ago."""
        return await self._some((TASK.c.expires_at_us <= self._clock.now_us()) & TASK.c.lease_until_us.is_(None))

    async def _some(self, which: ColumnElement[bool]) -> list[Task]:
        found = select(TASK).where(which).order_by(TASK.c.id).limit(_MOST_AT_ONCE)
        async with self._database.read() as session:
            return [Task.of_row(row) for row in await (await session.connection()).execute(found)]

    def _let_go(self, task_id: str, done: asyncio.Task[None]) -> None:
        if self._jobs.get(task_id) is done:
            del self._jobs[task_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("task %s is left to be resumed: %s", task_id, type(error).__name__)
