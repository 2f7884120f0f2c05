"""Databases with the tables of every package, made once in a process and copied: to make them anew for each test took a
seventh of the whole run."""

from __future__ import annotations

import asyncio
import atexit
import functools
import shutil
import tempfile
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agentnode.migrations import LOCATIONS
from ledger.database import Database


@functools.cache
def sqlite_with_tables() -> Path:
    """A file to copy."""
    folder = Path(tempfile.mkdtemp(prefix="agentnode-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _done(_make_tables(f"sqlite:///{folder / 'node.db'}"))
    return folder / "node.db"


@functools.cache
def postgres_with_tables(server_uri: str) -> str:
    """The name of a database to copy."""
    url = create_postgres_database(server_uri)
    _done(_make_tables(url))
    return url.partition("?")[0].rpartition("/")[2]


def create_postgres_database(server_uri: str, template: str = "template1") -> str:
    """Its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        import asyncpg

        connection = await asyncpg.connect(server_uri)
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        await connection.close()

    _done(create())
    return server_uri.replace("/postgres?", f"/{name}?")


async def _make_tables(url: str) -> None:
    made = Database(url)
    await made.upgrade(LOCATIONS)
    await made.close()


def _done(work: Coroutine[Any, Any, None]) -> None:
    """In a thread: whoever asks may be in a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
