"""The push configurations of tasks: who may name a URL, and what is told to it.

Each change of a task's status is told with the whole task as it stood then: a receiver that hears one of them knows
all that was before.
"""

from __future__ import annotations

from dataclasses import replace

from agentnode.a2a.access import visible
from agentnode.a2a.batch import CONTENT_LIFE_S, Bind
from agentnode.a2a.errors import TaskEnded
from agentnode.a2a.events import View, fold
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reader import TaskReader
from agentnode.a2a.transitions import Change
from agentnode.push import PushConfig, PushConfigs
from ledger.accounts import Caller
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database


class TaskPushes:
    """For who may see the task."""

    def __init__(
        self, database: Database, log: TaskLog, reader: TaskReader, clock: Clock, configs: PushConfigs
    ) -> None:
        self._database = database
        self._log = log
        self._reader = reader
        self._clock = clock
        self._configs = configs

    async def with_new_task(self, bind: Bind | None, config: PushConfig, tenant_id: str) -> Bind:
        """What commits with a new task: its configuration too. Raises AddressRefused, InvalidInput."""
        await self._configs.check(config)
        return self._with(bind, config, tenant_id)

    async def create(self, config: PushConfig, caller: Caller) -> PushConfig:
        """Of a task that has ended there is nothing to tell. Raises TaskMissing, AddressRefused, PushRefused."""
        task = await visible(self._reader, config.task_id, caller)
        await self._configs.check(config)
        since = Change(columns={"push_since_us": self._clock.now_us()})
        try:
            await self._log.alter(task.id, lambda _: since, self._with(None, config, task.tenant_id))
        except TaskEnded:
            ends_at_us = self._clock.now_us() + CONTENT_LIFE_S * SECOND_US
            async with self._database.write() as session:
                await self._configs.put(session, task.tenant_id, config, ends_at_us)
        return config

    async def get(self, task_id: str, config_id: str, caller: Caller) -> PushConfig:
        """Raises TaskMissing, PushMissing."""
        task = await visible(self._reader, task_id, caller)
        return await self._configs.get(task.tenant_id, task.id, config_id)

    async def all(self, task_id: str, caller: Caller) -> list[PushConfig]:
        """Raises TaskMissing."""
        task = await visible(self._reader, task_id, caller)
        return await self._configs.of_task(task.tenant_id, task.id)

    async def delete(self, task_id: str, config_id: str, caller: Caller) -> None:
        """Again: nothing. Raises TaskMissing."""
        task = await visible(self._reader, task_id, caller)
        await self._configs.delete(task.tenant_id, task.id, config_id)

    async def told(self, config: PushConfig, seq: int) -> View | None:
        """The task as it stood at its event of that number; None where its content has ended."""
        task = await self._reader.task(config.task_id)
        events = [] if task is None else await self._reader.events(task, 0)
        if task is None or not events or events[-1][0] < seq:
            return None
        return fold(task.id, task.context_id, (event for number, event in events if number <= seq))

    def _with(self, bind: Bind | None, config: PushConfig, tenant_id: str) -> Bind:
        async def both(session: AsyncSession, task_id: str) -> None:
            await self._configs.put(session, tenant_id, replace(config, task_id=task_id), None)
            if bind is not None:
                await bind(session, task_id)

        return both
