"""The spend path on SQLite: decided and written in the event loop, committed beside it, in turn with other processes.

Statements only touch memory and cost less than handing them to a thread would, which has to fight the event loop for
Python's one lock at each of them. What waits for the disk is the commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from ledger.beside import Beside
from ledger.database import Database
from ledger.errors import DatabaseUnavailable
from ledger.events import EventDraft
from ledger.spend.decide import Balance, Books, decide, named_budgets, named_events, named_holds
from ledger.spend.operations import Hold, Operation, Outcome
from ledger.write_gate import WriteGate

_LOOK_AGAIN_S = 0.005

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
        self._wait_s = wait_s
        self._gate = WriteGate(database.gate_path)
        self._disk = Beside("ledger-disk")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        try:
            self._connection = await self._disk.run(lambda: _connect(self._path, self._wait_s))
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailable(f"SQLite cannot be opened ({error}); try again") from error

    async def apply(self, batch: Sequence[Operation]) -> list[Outcome]:
        """One batch at a time."""
        connection = self._connection
        assert connection is not None, "the ledger is not open"
        try:
            await self._begin(connection)
            outcomes = self._written(connection, batch)
            await _to_its_end(self._disk.run(lambda: self._commit(connection)))
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailable(f"SQLite cannot write ({error}); try again") from error
        return outcomes

    async def close(self) -> None:
        if self._connection is None:
            return
        await self._disk.run(self._connection.close)
        self._connection = None
        self._disk.end()
        self._gate.close()

    async def _begin(self, connection: sqlite3.Connection) -> None:
        """Takes the gate, and SQLite's own lock, which only who passes by the gate can hold."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._wait_s
        try:
            async with asyncio.timeout_at(give_up_at):
                await self._gate.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("another process holds the database's write lock; try again") from None
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError:
                    if loop.time() > give_up_at:
                        raise
                await asyncio.sleep(_LOOK_AGAIN_S)
        except BaseException:
            self._gate.release()
            raise

    def _written(self, connection: sqlite3.Connection, batch: Sequence[Operation]) -> list[Outcome]:
        try:
            books = _read(connection, batch)
            outcomes = decide(batch, books)
            _apply(connection, books)
        except BaseException:
            connection.execute("ROLLBACK")
            self._gate.release()
            raise
        return outcomes

    def _commit(self, connection: sqlite3.Connection) -> None:
        """The gate is free before anybody is told: who stops this process upon the answer stops nobody else."""
        try:
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            self._gate.release()


async def _to_its_end(work: asyncio.Future[None]) -> None:
    """The connection is nobody else's before the thread is done with it, though its caller be cancelled."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _connect(path: Path, wait_s: float) -> sqlite3.Connection:
    # Used by the event loop and the thread beside it in turn, and once open it waits for no lock: the loop would.
    connection = sqlite3.connect(path, isolation_level=None, timeout=wait_s, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


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
