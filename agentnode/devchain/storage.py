"""The chain's one SQLite file: py-evm's key-value store, and the transactions that a block is written in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth.db.backends.base import BaseDB

from .errors import ChainFolderInUse, GenesisMismatch

TABLES = """
CREATE TABLE IF NOT EXISTS genesis (fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
    hash BLOB PRIMARY KEY, block_number INTEGER NOT NULL, position INTEGER NOT NULL,
    body BLOB NOT NULL, receipt BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS transactions_by_block ON transactions (block_number, position);
CREATE TABLE IF NOT EXISTS logs (
    block_number INTEGER NOT NULL, log_index INTEGER NOT NULL, address BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, body BLOB NOT NULL,
    PRIMARY KEY (block_number, log_index)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_address ON logs (address, topic0, block_number);
"""


# Of 1 to 2 kB each; what a chain's recent blocks touch again and again fits many times.
MOST_CACHED = 50_000


class ChainFile:
    """The open file; `nodes` is py-evm's part of it, `execute` is for the tables of records."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Opens or makes the file; raises ChainFolderInUse, or GenesisMismatch where its blocks stand on another.

        What was committed outlives the process's death (WAL); the machine's loss of power may take the last blocks.
        """
        self._connection = _open(path, fingerprint)
        self.execute = self._connection.execute
        self.nodes = NodeStore(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or none of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.nodes.write()
        except BaseException:
            self._connection.execute("ROLLBACK")
            self.nodes.forget()
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class NodeStore(BaseDB):
    """py-evm's key-value view: trie nodes, headers and code. What is set is written at the transaction's end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unwritten: dict[bytes, bytes | None] = {}
        self._cache: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        if key in self._unwritten:
            unwritten = self._unwritten[key]
            if unwritten is None:
                raise KeyError(key)
            return unwritten
        if key in self._cache:
            return self._cache[key]
        row = self._connection.execute("SELECT value FROM nodes WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        self._remember(key, row[0])
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._unwritten[key] = value

    def __delitem__(self, key: bytes) -> None:
        if not self._exists(key):
            raise KeyError(key)
        self._unwritten[key] = None

    def _exists(self, key: bytes) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def write(self) -> None:
        """To the file, inside its transaction."""
        kept = [(key, value) for key, value in self._unwritten.items() if value is not None]
        gone = [(key,) for key, value in self._unwritten.items() if value is None]
        self._connection.executemany("INSERT OR REPLACE INTO nodes VALUES (?, ?)", kept)
        self._connection.executemany("DELETE FROM nodes WHERE key = ?", gone)
        for key, value in kept:
            self._remember(key, value)
        for (key,) in gone:
            self._cache.pop(key, None)
        self._unwritten.clear()

    def forget(self) -> None:
        """What was set since the last transaction, and all that was read meanwhile."""
        self._unwritten.clear()
        self._cache.clear()

    def _remember(self, key: bytes, value: bytes) -> None:
        if len(self._cache) >= MOST_CACHED:
            self._cache.clear()
        self._cache[key] = value


def _open(path: Path, fingerprint: str) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(TABLES)
        kept = connection.execute("SELECT fingerprint FROM genesis").fetchone()
        if kept is None:
            connection.execute("INSERT INTO genesis VALUES (?)", (fingerprint,))
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise ChainFolderInUse(str(path)) from error
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise GenesisMismatch(str(path)) from error
    if kept is not None and kept[0] != fingerprint:
        connection.close()
        raise GenesisMismatch(str(path))
    return connection
