"""What the data folder remembers of the database: a count, so that a database restored from a copy is seen to be older.

Receipts leave no trace on the chain when they are spent, nor transfers when they are claimed, so the chain cannot say
what such a database has forgotten.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class Witness:
    """A file beside the database. It is written behind it, so it is never ahead of the same database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> int:
        """0 where there is none, or none that can be read."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_text())
        return 0

    def write(self, beat: int) -> None:
        """Nothing where a later one stands there: processes write in any order."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if beat > self.last():
                written = self._path.with_suffix(f".{os.getpid()}")
                written.write_text(str(beat))
                written.replace(self._path)
