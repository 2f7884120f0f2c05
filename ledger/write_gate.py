"""The gate in front of SQLite's one writer: who writes next, across threads and processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from ledger.beside import Beside


class WriteGate:
    """A fair queue in front of SQLite's one writer, across threads and processes.

    SQLite's own busy handler sleeps and polls, so that a busy writer re-takes the lock and the others starve for
    seconds; flock() wakes its waiters, and the kernel drops it when a process dies.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._queue = Beside("write-gate")
        self._place: asyncio.Future[None] | None = None
        self._wanted = False

    async def acquire(self) -> None:
        """For one task at a time. A place in the queue outlives its task: the next takes it, or it is given up."""
        if self._place is None:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._place = self._queue.run(lambda: fcntl.flock(self._fd, fcntl.LOCK_EX))
                self._place.add_done_callback(self._arrived)
        place, self._wanted = self._place, True
        try:
            await asyncio.shield(place)
            self._place = None
        except asyncio.CancelledError:
            if place.done():
                self._give_up()
            raise
        finally:
            self._wanted = False

    def _arrived(self, _: asyncio.Future[None]) -> None:
        if not self._wanted:
            self._give_up()

    def _give_up(self) -> None:
        self._place = None
        self.release()

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        self._queue.end()
        os.close(self._fd)
