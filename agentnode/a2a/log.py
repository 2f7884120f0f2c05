"""The task log: each write decides under the task's row lock, numbers its events and commits them with their content.

Callers that come while a commit is under way share the next one (group commit), so that a free task costs a fraction
of a flush. A refusal does not undo its neighbours; an unexpected error replays the batch one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy.exc import IntegrityError

from agentnode.a2a.batch import Alter, Batch, Bind, Create, Write, Written
from agentnode.a2a.events import Event
from agentnode.a2a.listeners import Listeners
from agentnode.a2a.tables import Task
from agentnode.a2a.transitions import Rule, by_holder
from agentnode.push import Told
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.together import Together
from ledger.vault import Vault

_MOST_AT_ONCE = 128


class Announcer(Protocol):
    """Who tells others of tasks (agentnode.push.PushConfigs)."""

    async def announce(self, session: AsyncSession, told: Iterable[Told]) -> None: ...
    def wake(self) -> None: ...


class TaskLog:
    def __init__(
        self, database: Database, vault: Vault, clock: Clock, listeners: Listeners, announcer: Announcer
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._listeners = listeners
        self._announcer = announcer
        self._writes = Together(self._written, _MOST_AT_ONCE)

    async def create(self, task: Task, events: Sequence[Event], bind: Bind | None = None) -> Written:
        """A new task with its first events; where its `open_key` is already at work, that task and no events."""
        return await self._writes.ask(Create(task, events, bind))

    async def alter(self, task_id: str, rule: Rule, bind: Bind | None = None) -> Written:
        """What the rule decides, written. Raises TaskMissing, TaskEnded, and what the rule raises."""
        return await self._writes.ask(Alter(task_id, rule, bind))

    async def append(self, held: Task, events: Sequence[Event], **columns: Any) -> Task:
        """Write as the one who has the task in hand. Raises TaskTakenOver, TaskEnded."""
        return (await self.alter(held.id, by_holder(held, events, **columns))).task

    async def _written(self, writes: list[Write]) -> list[Written | Exception]:
        try:
            outcomes = await self._commit(writes)
        except IntegrityError:
            if len(writes) > 1:
                raise
            # Another process took the same open key in the meantime: now it is there to be found.
            outcomes = await self._commit(writes)
        for outcome in outcomes:
            if isinstance(outcome, Written):
                self._tell(outcome)
        return outcomes

    def _tell(self, written: Written) -> None:
        if written.events:
            first = written.task.seq - len(written.events) + 1
            self._listeners.tell(written.task.id, list(enumerate(written.events, first)))
            if written.task.push_since_us is not None:
                self._announcer.wake()

    async def _commit(self, writes: list[Write]) -> list[Written | Exception]:
        async with self._database.write() as session:
            batch = await Batch.begin(session, self._clock.now_us(), writes)
            outcomes = [batch.decide(write) for write in writes]
            for write, outcome in zip(writes, outcomes, strict=True):
                if write.bind is not None and isinstance(outcome, Written):
                    await write.bind(session, outcome.task.id)
            await batch.store(session, self._vault)
            await self._announcer.announce(session, batch.told())
        return outcomes
