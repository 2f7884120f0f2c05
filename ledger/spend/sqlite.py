"""The spend path on SQLite: one thread of this process writes, in turn with the other processes."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from ledger.database import Database, WriteGate
from ledger.errors import DatabaseUnavailable
from ledger.events import EventDraft
from ledger.spend.decide import Balance, Books, decide, named_budgets, named_events, named_holds
from ledger.spend.operations import Hold, Operation, Outcome


@dataclass(slots=True)
class _Job:
    """A batch, who waits for it, and whether it was begun, which giving up must not undo."""

    batch: Sequence[Operation]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Outcome]]
    turn: threading.Lock = field(default_factory=threading.Lock)

    def begins(self) -> bool:
        """False where its caller has given it up. From here on it cannot be."""
        return self.turn.acquire(blocking=False)

    def give_up(self) -> None:
        if self.turn.acquire(blocking=False) and not self.answer.done():
            self.answer.set_exception(DatabaseUnavailable("another process holds the database's write lock; try again"))

    def tell(self, outcomes: list[Outcome], failure: BaseException | None) -> None:
        """Called in the event loop."""
        if self.answer.done():
            return
        if failure is None:
            self.answer.set_result(outcomes)
        else:
            self.answer.set_exception(failure)


_HOLD = tuple(field.name for field in fields(Hold))
_EVENT = (*(field.name for field in fields(EventDraft)), "at_us")
_MOVEMENT = ("id", "tenant_id", "hold_id", "event_id", "kind", "from_account", "to_account", "usd_nanos", "at_us")
_FIXED = ("id", "tenant_id", "budgets", "hows", "amount_usd_nanos", "owner", "ends_by", "created_at_us", "request_key")
_CHANGES = tuple(name for name in _HOLD if name not in _FIXED)
_LISTS = ("budgets", "hows", "parts")
_KEPT = ("tenant_id", "ref", "seq", "sealed", "ends_at_us")


def _insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"


_IN = "IN (SELECT value FROM json_each(?))"
_READ_HOLDS = f"SELECT {', '.join(_HOLD)} FROM holds WHERE id {_IN}"
_READ_ROOM = f"SELECT id, limit_usd_nanos - spent_usd_nanos - held_usd_nanos, kind FROM budgets WHERE id {_IN}"
_READ_EVENTS = f"SELECT id FROM economic_events WHERE id {_IN}"
_CHANGE_BUDGET = (
    "UPDATE budgets SET spent_usd_nanos = spent_usd_nanos + ?, held_usd_nanos = held_usd_nanos + ?,"
    " version = version + 1 WHERE id = ?"
)
_CHANGE_HOLD = f"UPDATE holds SET {', '.join(f'{name} = ?' for name in _CHANGES)} WHERE id = ?"
_ADD_HOLD, _ADD_EVENT, _ADD_MOVEMENT, _ADD_KEPT = (
    _insert("holds", _HOLD),
    _insert("economic_events", _EVENT),
    _insert("movements", _MOVEMENT),
    _insert("vault_items", _KEPT),
)


class SqliteLedger:
    """`wait_s` bounds how long a caller waits for a writer that does not come to its end (a stopped process)."""

    def __init__(self, database: Database, wait_s: float = 5.0) -> None:
        self._path = database.path
        self._gate_path = database.gate_path
        self._wait_s = wait_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a writer that waits behind a stopped process must not keep this one from ending.
        self._thread = threading.Thread(target=self._work, name="ledger-spend", daemon=True)

    async def open(self) -> None:
        self._thread.start()
        await self.apply([])

    async def apply(self, batch: Sequence[Operation]) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        job = _Job(batch, loop, loop.create_future())
        self._jobs.put(job)
        # Giving up ends a job that has not begun: what callers were refused is not done later.
        patience = loop.call_later(self._wait_s, job.give_up)
        try:
            return await job.answer
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailable(f"SQLite cannot write ({error}); try again") from error
        finally:
            patience.cancel()

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, self._wait_s)

    def _work(self) -> None:
        gate = WriteGate(self._gate_path)
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            outcomes: list[Outcome] = []
            failure: BaseException | None = None
            with gate.held():
                if not job.begins():
                    continue
                try:
                    connection = connection or _connect(self._path, self._wait_s)
                    outcomes = _write(connection, job.batch)
                except BaseException as error:
                    failure = error
            # Told after the gate is free: who stops this process upon the answer stops nobody else.
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
                job.loop.call_soon_threadsafe(job.tell, outcomes, failure)
        if connection is not None:
            connection.close()
        gate.close()


def _connect(path: Path, wait_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=wait_s)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _write(connection: sqlite3.Connection, batch: Sequence[Operation]) -> list[Outcome]:
    if not batch:
        return []
    connection.execute("BEGIN IMMEDIATE")
    try:
        books = _read(connection, batch)
        outcomes = decide(batch, books)
        _apply(connection, books)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _read(connection: sqlite3.Connection, batch: Sequence[Operation]) -> Books:
    holds = {row[0]: _hold(row) for row in connection.execute(_READ_HOLDS, _ids(named_holds(batch)))}
    budgets = connection.execute(_READ_ROOM, _ids(named_budgets(batch, holds.values())))
    balances = {budget_id: Balance(room, kind) for budget_id, room, kind in budgets}
    events = connection.execute(_READ_EVENTS, _ids(named_events(batch, holds.values())))
    return Books(balances, holds, {event_id for (event_id,) in events})


def _apply(connection: sqlite3.Connection, books: Books) -> None:
    """The constraint on budgets is the last line: should a decision be wrong, the whole batch fails here."""
    deltas = [
        (balance.spent_delta, balance.held_delta, budget_id)
        for budget_id, balance in books.balances.items()
        if balance.spent_delta or balance.held_delta
    ]
    connection.executemany(_CHANGE_BUDGET, deltas)
    connection.executemany(_ADD_HOLD, [_values(books.holds[hold_id], _HOLD) for hold_id in books.new_holds])
    changed = [(*_values(books.holds[hold_id], _CHANGES), hold_id) for hold_id in books.changed_holds]
    connection.executemany(_CHANGE_HOLD, changed)
    connection.executemany(_ADD_EVENT, [_event(event) for event in books.new_events])
    connection.executemany(_ADD_MOVEMENT, [[row[name] for name in _MOVEMENT] for row in books.movements])
    connection.executemany(_ADD_KEPT, [[row[name] for name in _KEPT] for row in books.kept])


def _ids(ids: Iterable[str]) -> tuple[str]:
    return (orjson.dumps(list(ids)).decode(),)


def _hold(row: Sequence[Any]) -> Hold:
    values = dict(zip(_HOLD, row, strict=True))
    for name in _LISTS:
        values[name] = tuple(orjson.loads(values[name]))
    if values["floor_event"] is not None:
        values["floor_event"] = orjson.loads(values["floor_event"])
    return Hold(**values)


def _values(hold: Hold, columns: Iterable[str]) -> list[Any]:
    values = ((name, getattr(hold, name)) for name in columns)
    return [_json(value) if name in _LISTS or name == "floor_event" else value for name, value in values]


def _event(event: dict[str, Any]) -> list[Any]:
    return [_json(event[name]) if name in ("attribution", "trace") else event[name] for name in _EVENT]


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
