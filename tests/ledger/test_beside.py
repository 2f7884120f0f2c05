"""The thread beside the event loop: in order, to the end, and in nobody's way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from ledger.beside import Beside

_STUCK = """
import asyncio, fcntl, os, sys
from ledger.beside import Beside

async def main():
    mine, other = (os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) for _ in range(2))
    fcntl.flock(mine, fcntl.LOCK_EX)
    Beside("stuck").run(lambda: fcntl.flock(other, fcntl.LOCK_EX))

asyncio.run(main())
print("ended")
"""


async def test_what_is_asked_is_done_in_order_though_its_caller_goes_away() -> None:
    """And its failure is its caller's alone."""
    beside, done = Beside("test"), list[int]()
    gate = threading.Event()
    left = beside.run(lambda: (gate.wait(10), done.append(1)))
    left.cancel()
    failing = beside.run(lambda: 1 // 0)
    after = beside.run(lambda: done.append(2))
    gate.set()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(failing, 10)
    await asyncio.wait_for(after, 10)
    assert done == [1, 2]
    beside.end()


def test_a_thread_that_waits_for_another_process_keeps_this_one_from_nothing(tmp_path: object) -> None:
    """A process stops though its writer stands behind one that was stopped with the lock in hand."""
    told = subprocess.run(
        [sys.executable, "-c", _STUCK, f"{tmp_path}/gate"], capture_output=True, text=True, timeout=30, check=True
    )
    assert told.stdout == "ended\n"
