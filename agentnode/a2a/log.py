"""The task log: each write decides under the task's row lock, numbers its events and commits them with their content.

Callers that come while a commit is under way share the next one (group commit), so that a free task costs a fraction
of a flush. A refusal does not undo its neighbours; an unexpected error replays the batch one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from agentnode.a2a.errors import TaskEnded, TaskMissing
from agentnode.a2a.events import Event, dumps, state_of, told_of
from agentnode.a2a.hints import Hints
from agentnode.a2a.states import TERMINAL
from agentnode.a2a.tables import TASK, TASK_EVENT, Task
from agentnode.push import Told
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.together import Together
from ledger.vault import Vault, VaultItem

CONTENT_LIFE_S = 24 * 3600
_MOST_AT_ONCE = 128
_FIELDS = tuple(each.name for each in fields(Task))
_FIXED = frozenset(
    {"id", "context_id", "tenant_id", "skill", "dialect", "x402_version", "price_usd_nanos", "created_at_us"}
)
_CHANGE = (
    update(TASK)
    .where(TASK.c.id == bindparam("of_id"))
    .values({name: bindparam(f"to_{name}") for name in _FIELDS if name not in _FIXED})
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a rule wants written: events in order, and columns of the task to set."""

    events: Sequence[Event] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Task], Change]
"""Decides on a task as it stands under its lock; refuses by raising. Pure and quick."""

Bind = Callable[[AsyncSession, str], Awaitable[None]]
"""What else commits with the write to a task, whose id it is given."""


class Announcer(Protocol):
    """Who tells others of tasks (agentnode.push.PushConfigs)."""

    async def announce(self, session: AsyncSession, told: Iterable[Told]) -> None: ...
    def wake(self) -> None: ...


@dataclass(slots=True)
class Written:
    """A task as it now stands, and the events that this write appended to it."""

    task: Task
    events: Sequence[Event] = ()


@dataclass(slots=True)
class _Create:
    task: Task
    events: Sequence[Event]
    bind: Bind | None


@dataclass(slots=True)
class _Alter:
    task_id: str
    rule: Rule
    bind: Bind | None


_Write = _Create | _Alter


class TaskLog:
    def __init__(self, database: Database, vault: Vault, clock: Clock, hints: Hints, announcer: Announcer) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._hints = hints
        self._announcer = announcer
        self._writes = Together(self._written, _MOST_AT_ONCE)

    async def create(self, task: Task, events: Sequence[Event], bind: Bind | None = None) -> Written:
        """A new task with its first events; where its `open_key` is already at work, that task and no events."""
        return await self._writes.ask(_Create(task, events, bind))

    async def alter(self, task_id: str, rule: Rule, bind: Bind | None = None) -> Written:
        """What the rule decides, written. Raises TaskMissing, TaskEnded, and what the rule raises."""
        return await self._writes.ask(_Alter(task_id, rule, bind))

    async def _written(self, writes: list[_Write]) -> list[Written | Exception]:
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
            self._hints.tell(written.task.id, list(enumerate(written.events, first)))
            if written.task.push_since_us is not None:
                self._announcer.wake()

    async def _commit(self, writes: list[_Write]) -> list[Written | Exception]:
        async with self._database.write() as session:
            batch = _Batch(self._clock.now_us(), await _locked(session, writes), await _open(session, writes))
            outcomes = [batch.decide(write) for write in writes]
            for write, outcome in zip(writes, outcomes, strict=True):
                if write.bind is not None and isinstance(outcome, Written):
                    await write.bind(session, outcome.task.id)
            await batch.store(session, self._vault)
            await self._announcer.announce(session, batch.told())
        return outcomes


class _Batch:
    """Decides the writes of one transaction in the order in which they came, and stores what they add up to."""

    def __init__(self, now_us: int, tasks: dict[str, Task], opened: dict[str, Task]) -> None:
        self._now_us = now_us
        self._tasks = tasks
        self._opened = opened
        self._new: list[Task] = []
        self._changed: dict[str, Task] = {}
        self._written: list[Written] = []

    def decide(self, write: _Write) -> Written | Exception:
        try:
            return self._create(write) if isinstance(write, _Create) else self._alter(write)
        except Exception as refused:
            return refused

    async def store(self, session: AsyncSession, vault: Vault) -> None:
        connection = await session.connection()
        if self._new:
            await connection.execute(insert(TASK), [_values(task) for task in self._new])
        if self._changed:
            rows = [_values(task, "to_") | {"of_id": task.id} for task in self._changed.values()]
            await connection.execute(_CHANGE, rows)
        if events := [row for written in self._written for row in self._event_rows(written)]:
            await connection.execute(insert(TASK_EVENT), events)
        content: dict[str, list[VaultItem]] = {}
        for written in self._written:
            task = written.task
            ends_at_us = self._content_ends() if task.ended else None
            item = VaultItem(task.id, task.seq, dumps(list(written.events)), ends_at_us)
            content.setdefault(task.tenant_id, []).append(item)
        for tenant_id, items in content.items():
            await vault.put_all(session, tenant_id, items)
        for task in self._changed.values():
            if task.ended:
                await vault.end(session, task.tenant_id, task.id, self._content_ends())

    def told(self) -> list[Told]:
        """What somebody asked to be told of."""
        told: dict[str, Told] = {}
        for written in self._written:
            task = written.task
            if task.push_since_us is None:
                continue
            before = told[task.id].seqs if task.id in told else ()
            seqs = told_of(written.events, task.seq - len(written.events) + 1)
            ends_at_us = self._content_ends() if task.ended else None
            told[task.id] = Told(task.id, task.tenant_id, [*before, *seqs], ends_at_us)
        return list(told.values())

    def _create(self, write: _Create) -> Written:
        task = _copy(write.task)
        if task.open_key is not None and (standing := self._opened.get(task.open_key)) is not None:
            return Written(_copy(standing))
        self._advance(task, Change(write.events))
        self._new.append(task)
        if task.open_key is not None:
            self._opened[task.open_key] = task
        return self._kept(task, write.events)

    def _alter(self, write: _Alter) -> Written:
        task = self._tasks.get(write.task_id)
        if task is None:
            raise TaskMissing
        if task.ended:
            raise TaskEnded(task.state)
        change = write.rule(_copy(task))
        self._advance(task, change)
        self._changed[task.id] = task
        return self._kept(task, change.events)

    def _advance(self, task: Task, change: Change) -> None:
        for name, value in change.columns.items():
            setattr(task, name, value)
        for event in change.events:
            if (state := state_of(event)) is not None:
                task.state = state
                task.status_at_us = self._now_us
        task.seq += len(change.events)
        task.version += 1
        if task.state in TERMINAL:
            task.ended_at_us = self._now_us
            task.lease_owner = task.lease_until_us = task.expires_at_us = task.open_key = None

    def _kept(self, task: Task, events: Sequence[Event]) -> Written:
        written = Written(_copy(task), events)
        if events:
            self._written.append(written)
        return written

    def _event_rows(self, written: Written) -> list[dict[str, Any]]:
        first = written.task.seq - len(written.events) + 1
        return [
            {
                "task_id": written.task.id,
                "seq": seq,
                "kind": event["kind"],
                "state": state_of(event),
                "at_us": self._now_us,
            }
            for seq, event in enumerate(written.events, first)
        ]

    def _content_ends(self) -> int:
        return self._now_us + CONTENT_LIFE_S * SECOND_US


async def _locked(session: AsyncSession, writes: Sequence[_Write]) -> dict[str, Task]:
    ids = {write.task_id for write in writes if isinstance(write, _Alter)}
    if not ids:
        return {}
    found = select(TASK).where(TASK.c.id.in_(sorted(ids))).order_by(TASK.c.id).with_for_update(key_share=True)
    return {row.id: task_of(row) for row in await (await session.connection()).execute(found)}


async def _open(session: AsyncSession, writes: Sequence[_Write]) -> dict[str, Task]:
    keys = {write.task.open_key for write in writes if isinstance(write, _Create) and write.task.open_key}
    if not keys:
        return {}
    found = select(TASK).where(TASK.c.open_key.in_(sorted(keys)))
    return {row.open_key: task_of(row) for row in await (await session.connection()).execute(found)}


def task_of(row: Any) -> Task:
    return Task(**row._mapping)


def _values(task: Task, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: getattr(task, name) for name in _FIELDS if not prefix or name not in _FIXED}


def _copy(task: Task) -> Task:
    return Task(*(getattr(task, each.name) for each in fields(Task)))
