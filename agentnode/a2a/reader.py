"""Reading tasks: one, a page of them, and the events of one as they come, in order and without a gap."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, tuple_

from agentnode.a2a.events import Event, View, fold, loads
from agentnode.a2a.listeners import Listener, Listeners, Numbered
from agentnode.a2a.tables import TASK, Task
from ledger.database import AsyncSession, Database
from ledger.vault import Vault

_MOST_PAGE_BYTES = 2_000_000
"""Of what was said in its tasks; the one that passes it is the page's last."""


@dataclass(frozen=True)
class Snapshot:
    """A task, what its caller sees of it, and the number of the last event in that; where it is new, its events."""

    task: Task
    view: View
    seq: int
    fresh: Sequence[Event] = ()
    size_bytes: int = 0


@dataclass(frozen=True)
class Filter:
    """Which tasks to list: of a tenant, a payer or a context (one of them at least), newest status first."""

    tenant_id: str | None = None
    payer: str | None = None
    context_id: str | None = None
    state: str | None = None
    status_after_us: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


class TaskReader:
    def __init__(self, database: Database, vault: Vault, listeners: Listeners, poll_s: float) -> None:
        self._database = database
        self._vault = vault
        self._listeners = listeners
        self._poll_s = poll_s

    def listening(self, task_id: str) -> AbstractContextManager[Listener]:
        """Hear of a task's events as this process commits them; begin to listen before reading."""
        return self._listeners.listening(task_id)

    async def task(self, task_id: str) -> Task | None:
        async with self._database.read() as session:
            return await _one(session, TASK.c.id == task_id)

    async def open(self, open_key: str) -> Task | None:
        """The task that an equal message is at work on."""
        async with self._database.read() as session:
            return await _one(session, TASK.c.open_key == open_key)

    async def snapshot(self, task: Task) -> Snapshot:
        """Content and number come from one read, so that a tail begins exactly where the snapshot ends."""
        async with self._database.read() as session:
            now = await _one(session, TASK.c.id == task.id) or task
            return await self._snapshot(session, now)

    async def page(self, which: Filter) -> tuple[list[Snapshot], int, bool]:
        """A page of tasks, how many there are in all, and whether more may follow. A few large ones fill it too."""
        wanted = _condition(which)
        found = select(TASK).order_by(TASK.c.status_at_us.desc(), TASK.c.id.desc()).limit(which.limit)
        if which.before is not None:
            found = found.where(tuple_(TASK.c.status_at_us, TASK.c.id) < which.before)
        async with self._database.read() as session:
            connection = await session.connection()
            tasks = [Task.of_row(row) for row in await connection.execute(found.where(*wanted))]
            total = (await connection.execute(select(func.count()).select_from(TASK).where(*wanted))).scalar_one()
            shown: list[Snapshot] = []
            for task in tasks:
                shown.append(await self._snapshot(session, task))
                if sum(each.size_bytes for each in shown) > _MOST_PAGE_BYTES:
                    return shown, total, True
            return shown, total, len(shown) == which.limit

    async def events(self, task: Task, after_seq: int) -> list[Numbered]:
        async with self._database.read() as session:
            return await self._events(session, task, after_seq)

    async def follow(self, task: Task, after_seq: int, listener: Listener) -> AsyncGenerator[Numbered, None]:
        """Each event behind `after_seq` once, in order, for ever: who follows leaves at the event that it wants.

        The listener is the fast way, a look into the database each `poll_s` the sure one.
        """
        sent = after_seq
        while True:
            heard = {seq: event for seq, event in listener.take() if seq > sent}
            come = [(seq, heard[seq]) for seq in sorted(heard)]
            if come and come[-1][0] != sent + len(come):  # one was missed
                come = await self.events(task, sent)
            for seq, event in come:
                assert seq == sent + 1, "events are numbered under the task's lock"
                sent = seq
                yield seq, event
            if not come and not await listener.wait(self._poll_s):
                listener.tell(await self.events(task, sent))

    async def _snapshot(self, session: AsyncSession, task: Task) -> Snapshot:
        runs = await self._vault.range(session, task.tenant_id, task.id, 0)
        events = _numbered(runs, 0)
        view = fold(task.id, task.context_id, (event for _, event in events))
        # What was said is deleted a day after the end; that it happened stays.
        view.setdefault("status", {"state": task.state, "at_us": task.status_at_us})
        size_bytes = sum(len(data) for _, data in runs)
        return Snapshot(task, view, events[-1][0] if events else task.seq, size_bytes=size_bytes)

    async def _events(self, session: AsyncSession, task: Task, after_seq: int) -> list[Numbered]:
        return _numbered(await self._vault.range(session, task.tenant_id, task.id, after_seq), after_seq)


def _numbered(runs: Sequence[tuple[int, bytes]], after_seq: int) -> list[Numbered]:
    numbered: list[Numbered] = []
    for last, data in runs:
        run = loads(data)
        numbered += enumerate(run, last - len(run) + 1)
    return [each for each in numbered if each[0] > after_seq]


async def _one(session: AsyncSession, which: ColumnElement[bool]) -> Task | None:
    row = (await (await session.connection()).execute(select(TASK).where(which))).first()
    return None if row is None else Task.of_row(row)


def _condition(which: Filter) -> list[ColumnElement[bool]]:
    whose = [TASK.c.tenant_id == which.tenant_id] if which.tenant_id is not None else []
    whose += [TASK.c.payer == which.payer] if which.payer is not None else []
    conditions: list[ColumnElement[bool]] = [or_(*whose)] if whose else []
    wanted: dict[Any, Any] = {TASK.c.context_id: which.context_id, TASK.c.state: which.state}
    conditions += [column == value for column, value in wanted.items() if value is not None]
    if which.status_after_us is not None:
        conditions.append(TASK.c.status_at_us >= which.status_after_us)
    return conditions
