"""One transaction of the task log: writes are decided in the order they came, and what they add up to is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from agentnode.a2a.errors import TaskEnded, TaskMissing
from agentnode.a2a.events import Event, dumps, state_of, told_of
from agentnode.a2a.states import TERMINAL
from agentnode.a2a.tables import TASK, TASK_EVENT, Task
from agentnode.a2a.transitions import Change, Rule
from agentnode.push import Told
from ledger.clock import SECOND_US
from ledger.database import AsyncSession
from ledger.vault import Vault, VaultItem

CONTENT_LIFE_S = 24 * 3600
_FIELDS = tuple(each.name for each in fields(Task))
_values_of = attrgetter(*_FIELDS)
_FIXED = frozenset(
    {"id", "context_id", "tenant_id", "skill", "dialect", "x402_version", "price_usd_nanos", "created_at_us"}
)
_CHANGE = (
    update(TASK)
    .where(TASK.c.id == bindparam("of_id"))
    .values({name: bindparam(f"to_{name}") for name in _FIELDS if name not in _FIXED})
)

Bind = Callable[[AsyncSession, str], Awaitable[None]]
"""What else commits with the write to a task, whose id it is given."""


@dataclass(slots=True)
class Written:
    """A task as it now stands, and the events that this write appended to it."""

    task: Task
    events: Sequence[Event] = ()


@dataclass(slots=True)
class Create:
    task: Task
    events: Sequence[Event]
    bind: Bind | None


@dataclass(slots=True)
class Alter:
    task_id: str
    rule: Rule
    bind: Bind | None


Write = Create | Alter


class Batch:
    """Of tasks that are locked, and those that are at work under an `open_key`, by it."""

    def __init__(self, now_us: int, tasks: dict[str, Task], opened: dict[str, Task]) -> None:
        self._now_us = now_us
        self._tasks = tasks
        self._opened = opened
        self._new: list[Task] = []
        self._changed: dict[str, Task] = {}
        self._written: list[Written] = []

    @classmethod
    async def begin(cls, session: AsyncSession, now_us: int, writes: Sequence[Write]) -> Batch:
        return cls(now_us, await _locked(session, writes), await _opened(session, writes))

    def decide(self, write: Write) -> Written | Exception:
        try:
            return self._create(write) if isinstance(write, Create) else self._alter(write)
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

    def _create(self, write: Create) -> Written:
        task = _copy(write.task)
        if task.open_key is not None and (standing := self._opened.get(task.open_key)) is not None:
            return Written(_copy(standing))
        self._advance(task, Change(write.events))
        self._new.append(task)
        if task.open_key is not None:
            self._opened[task.open_key] = task
        return self._kept(task, write.events)

    def _alter(self, write: Alter) -> Written:
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


async def _locked(session: AsyncSession, writes: Sequence[Write]) -> dict[str, Task]:
    ids = {write.task_id for write in writes if isinstance(write, Alter)}
    if not ids:
        return {}
    found = select(TASK).where(TASK.c.id.in_(sorted(ids))).order_by(TASK.c.id).with_for_update(key_share=True)
    return {row.id: Task.of_row(row) for row in await (await session.connection()).execute(found)}


async def _opened(session: AsyncSession, writes: Sequence[Write]) -> dict[str, Task]:
    keys = {write.task.open_key for write in writes if isinstance(write, Create) and write.task.open_key}
    if not keys:
        return {}
    found = select(TASK).where(TASK.c.open_key.in_(sorted(keys)))
    return {row.open_key: Task.of_row(row) for row in await (await session.connection()).execute(found)}


def _values(task: Task, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: getattr(task, name) for name in _FIELDS if not prefix or name not in _FIXED}


def _copy(task: Task) -> Task:
    return Task(*_values_of(task))
