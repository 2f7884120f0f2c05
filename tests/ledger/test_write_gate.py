"""The gate in front of SQLite's writer is fair, bounded, and never left shut by who went away."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.database import Database
from ledger.errors import DatabaseUnavailable
from ledger.write_gate import WriteGate


async def test_a_waiter_that_went_away_leaves_the_gate_open(tmp_path: Path) -> None:
    """Cancelled while another holds it, its place is given up once it comes; the next waiter gets in."""
    gate, other = WriteGate(tmp_path / "gate"), os.open(tmp_path / "gate", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    waiting = asyncio.create_task(gate.acquire())
    while gate._place is None:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    fcntl.flock(other, fcntl.LOCK_UN)
    while gate._place is not None:
        await asyncio.sleep(0)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_UN)
    await asyncio.wait_for(gate.acquire(), 5)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_the_next_waiter_takes_the_place_of_one_that_went_away(tmp_path: Path) -> None:
    """No second place is queued behind the first, which would shut the gate on itself."""
    gate, other = WriteGate(tmp_path / "gate"), os.open(tmp_path / "gate", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    first = asyncio.create_task(gate.acquire())
    while gate._place is None:
        await asyncio.sleep(0)
    place = gate._place
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(gate.acquire())
    await asyncio.sleep(0)
    assert gate._place is place
    fcntl.flock(other, fcntl.LOCK_UN)
    await asyncio.wait_for(second, 5)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    gate.release()


async def test_a_writer_that_holds_the_gate_too_long_is_a_503_for_the_others(tmp_path: Path) -> None:
    """A process stopped with the lock in hand makes the others say so, not wait for ever."""
    database = Database(f"sqlite:///{tmp_path / 'node.db'}", gate_wait_s=0.05)
    other = os.open(database.gate_path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DatabaseUnavailable):
        async with database.write():
            raise AssertionError("it wrote while another held the gate")
    fcntl.flock(other, fcntl.LOCK_UN)
    async with database.write():
        pass
    await database.close()


async def test_who_starts_while_another_upgrades_waits_for_it(tmp_path: Path) -> None:
    """An upgrade may have much to move: the next process waits far longer than a request would."""
    upgrading = Database(f"sqlite:///{tmp_path / 'node.db'}")
    started = Database(f"sqlite:///{tmp_path / 'node.db'}", gate_wait_s=0.01)
    async with upgrading.write():
        waiting = asyncio.create_task(started.upgrade())
        with pytest.raises(DatabaseUnavailable):
            async with started.write():
                pass
        assert not waiting.done()
    await waiting
    for each in (upgrading, started):
        await each.close()


_SLOW = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000) SELECT count(x) FROM n"


async def test_a_writer_that_is_cancelled_leaves_no_lock(tmp_path: Path) -> None:
    """A closed connection keeps SQLite's lock while there is a cursor of it, as in the traceback of who was cut off."""
    database, begun, kept = Database(f"sqlite:///{tmp_path / 'node.db'}"), asyncio.Event(), []

    async def write() -> None:
        async with database.write() as session:
            await (await session.connection()).execute(text("CREATE TABLE t (a)"))
            raw = await (await session.connection()).get_raw_connection()
            assert raw.driver_connection is not None
            kept.append(await raw.driver_connection.execute("SELECT 1 UNION ALL SELECT 2"))
            begun.set()
            await (await session.connection()).execute(text(_SLOW))

    writing = asyncio.create_task(write())
    await begun.wait()
    writing.cancel()
    _, cut_off = await asyncio.gather(asyncio.sleep(0), writing, return_exceptions=True)
    assert isinstance(cut_off, asyncio.CancelledError)
    async with database.write() as session:
        await (await session.connection()).execute(text("CREATE TABLE t (a)"))
    await database.close()
