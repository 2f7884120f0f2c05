"""Tasks and their push configurations: who may name a URL, what is told to it, and when.

Each change of a task's status is told with the whole task as it stood then: a receiver that hears one of them knows
all that was before.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from a2a.compat.v0_3.conversions import to_compat_task
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from agentnode.a2a.errors import TaskEnded
from agentnode.a2a.events import fold
from agentnode.a2a.log import CONTENT_LIFE_S, Bind, Change, TaskLog
from agentnode.a2a.numbers import Numbers
from agentnode.a2a.protos import Protos
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.whose import Whose
from agentnode.push import PushConfig, PushConfigs
from ledger.accounts import Caller
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database

DEFAULT_ID = "default"
"""What 0.3 calls a configuration that was given no id"""


class Telling:
    """The push configurations of tasks, for who may see the task; `body` is what a configuration is told."""

    def __init__(
        self, database: Database, log: TaskLog, reader: TaskReader, clock: Clock, configs: PushConfigs, whose: Whose
    ) -> None:
        self._database = database
        self._log = log
        self._reader = reader
        self._clock = clock
        self._configs = configs
        self._whose = whose

    async def checked(self, config: PushConfig) -> PushConfig:
        """The configuration with an id, its URL checked. Raises AddressRefused, InvalidInput."""
        await self._configs.check(config)
        return replace(config, id=config.id or _id_of(config))

    def with_task(self, bind: Bind | None, config: PushConfig, tenant_id: str) -> Bind:
        """What commits with a new task: its configuration too."""

        async def both(session: AsyncSession, task_id: str) -> None:
            await self._configs.put(session, tenant_id, replace(config, task_id=task_id), None)
            if bind is not None:
                await bind(session, task_id)

        return both

    async def create(self, config: PushConfig, caller: Caller) -> PushConfig:
        """Of a task that has ended there is nothing to tell. Raises TaskMissing, AddressRefused, PushRefused."""
        task = await self._whose.visible(config.task_id, caller)
        config = await self.checked(config)
        since = Change(columns={"push_since_us": self._clock.now_us()})
        try:
            await self._log.alter(task.id, lambda _: since, self.with_task(None, config, task.tenant_id))
        except TaskEnded:
            ends_at_us = self._clock.now_us() + CONTENT_LIFE_S * SECOND_US
            async with self._database.write() as session:
                await self._configs.put(session, task.tenant_id, config, ends_at_us)
        return config

    async def get(self, task_id: str, config_id: str, caller: Caller) -> PushConfig:
        """Raises TaskMissing, PushMissing."""
        task = await self._whose.visible(task_id, caller)
        return await self._configs.get(task.tenant_id, task.id, config_id)

    async def all(self, task_id: str, caller: Caller) -> list[PushConfig]:
        """Raises TaskMissing."""
        task = await self._whose.visible(task_id, caller)
        return await self._configs.of_task(task.tenant_id, task.id)

    async def delete(self, task_id: str, config_id: str, caller: Caller) -> None:
        """Again: nothing. Raises TaskMissing."""
        task = await self._whose.visible(task_id, caller)
        await self._configs.delete(task.tenant_id, task.id, config_id)

    async def body(self, config: PushConfig, seq: int) -> bytes | None:
        """The task as it stood at its event of that number, in the configuration's protocol."""
        task = await self._reader.task(config.task_id)
        events = [] if task is None else await self._reader.events(task, 0)
        if task is None or not events or events[-1][0] < seq:
            return None
        view = fold(task.id, task.context_id, (event for number, event in events if number <= seq))
        numbers = Numbers()
        told = Protos(numbers).task(view)
        if config.dialect == "1.0":
            return numbers.show(json.dumps(MessageToDict(pb.StreamResponse(task=told)))).encode()
        return numbers.show(to_compat_task(told).model_dump_json(by_alias=True, exclude_none=True)).encode()


def _id_of(config: PushConfig) -> str:
    """Of a configuration without one: the same again is the same, so that a retry makes no second one."""
    if config.dialect != "1.0":
        return DEFAULT_ID
    said = json.dumps([config.url, config.token, config.scheme, config.credentials])
    return f"push_{hashlib.sha256(said.encode()).hexdigest()[:32]}"
