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


def open_database(path: Path, fingerprint: str) -> sqlite3.Connection:
    """Opens or makes the file; raises ChainFolderInUse, or GenesisMismatch where its blocks stand on another genesis.

    What was committed outlives the process's death (WAL); the machine's loss of power may take the last blocks.
    """
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


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside is kept, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class NodeStore(BaseDB):
    """py-evm's view of the file: trie nodes, headers and code by key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getitem__(self, key: bytes) -> bytes:
        row = self._connection.execute("SELECT value FROM nodes WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if self._connection.execute("DELETE FROM nodes WHERE key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._connection.execute("SELECT 1 FROM nodes WHERE key = ?", (key,)).fetchone() is not None
