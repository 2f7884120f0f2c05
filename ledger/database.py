"""One engine for rows: SQLite (WAL) or PostgreSQL by URL, sessions that read or write, and the migrations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import MetaData, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ledger.errors import DatabaseUnavailable, InvalidInput
from ledger.write_gate import WriteGate

MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_WAIT_S = 600.0
"""Another process may have much to bring up to date; who starts meanwhile waits for it."""
_UPGRADE_LOCK = 0x61676E6F  # any fixed number: every process takes the same advisory lock to upgrade
_BUSY_TIMEOUT_S = 20.0
_DATA_EXCEPTION = "22"
"""The class of SQLSTATE for values that cannot be stored or looked for."""


class Row(SQLModel):
    """The base of every table. Constraints are named, so that a table rebuilt on SQLite keeps them."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """The node's database. `url` is `sqlite:///path` or `postgresql://user:password@host/name`.

    Raises InvalidInput for any other scheme, and for values that cannot be stored; DatabaseUnavailable where the
    database does not answer, or another process keeps SQLite's write lock for longer than `gate_wait_s`.
    """

    def __init__(self, url: str, gate_wait_s: float = 5.0) -> None:
        self.url = _async_url(url)
        self._gate_wait_s = gate_wait_s
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgres_engine(self.url)
        self._gate: WriteGate | None = None
        self._writer = asyncio.Lock()
        if self.is_sqlite:
            self._gate = WriteGate(self.gate_path)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        assert self.is_sqlite and self.url.database
        return Path(self.url.database)

    @property
    def gate_path(self) -> Path:
        return self.path.with_name(self.path.name + ".gate")

    @property
    def dsn(self) -> str:
        """The URL as asyncpg itself takes it."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one snapshot and changes nothing."""
        async with self._translated():
            async with AsyncSession(self.engine.execution_options(reads=True), expire_on_commit=False) as session:
                yield session

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits at the end of the block, or undoes all of it on an exception.

        On SQLite it holds the only write lock from its first line: await nothing slow inside.
        """
        async with self._translated(), self._turn(self._gate_wait_s):
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                yield session

    async def upgrade(self, locations: Sequence[Path] = ()) -> None:
        """Bring the tables to this version: the ledger's own migrations and those of the packages in `locations`."""
        async with self._translated(), self._turn(_UPGRADE_WAIT_S), self.engine.begin() as connection:
            if not self.is_sqlite:
                for bound in ("lock_timeout", "statement_timeout"):
                    await connection.execute(text(f"SET LOCAL {bound} = '{_UPGRADE_WAIT_S:.0f}s'"))
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            await connection.run_sync(_upgrade, [MIGRATIONS / "versions", *locations])

    async def ping(self) -> None:
        """Raises DatabaseUnavailable where a trivial read does not come back."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    @contextlib.asynccontextmanager
    async def _turn(self, wait_s: float) -> AsyncIterator[None]:
        if self._gate is None:
            yield
            return
        async with contextlib.AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(wait_s):
                    await turn.enter_async_context(self._writer)
                    await self._gate.acquire()
            except TimeoutError:
                raise DatabaseUnavailable("another process holds the database's write lock; try again") from None
            try:
                yield
            finally:
                self._gate.release()

    @contextlib.asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise DatabaseUnavailable("the database did not answer; try again") from error
        except (UnicodeEncodeError, OverflowError) as error:  # SQLite's driver, before it asks
            raise _unstorable() from error
        except DBAPIError as error:
            if str(getattr(error.orig, "sqlstate", "")).startswith(_DATA_EXCEPTION):
                raise _unstorable() from error
            if error.connection_invalidated:
                raise DatabaseUnavailable("the connection to the database was lost; try again") from error
            if error.statement is None and not isinstance(error, IntegrityError):  # it lets nobody in
                raise DatabaseUnavailable("the database takes no connection; try again") from error
            raise
        except OSError as error:
            if self.is_sqlite:
                raise
            raise DatabaseUnavailable("the database cannot be reached; try again") from error


def _unstorable() -> InvalidInput:
    """Somebody sent it: whoever looks something up by what was sent need not look at each character first."""
    return InvalidInput("input", "holds what no database stores: NUL, half a surrogate pair, an integer over 64 bits")


def _async_url(url: str) -> URL:
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise InvalidInput("database_url", "must name a file: sqlite:///PATH")
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
    raise InvalidInput("database_url", "must begin with sqlite:/// or postgresql://")


class _Connection(sqlite3.Connection):
    def close(self) -> None:
        """Undoes what is open: SQLite keeps a closed connection, and its lock, while there is a cursor of it."""
        with contextlib.suppress(sqlite3.Error):  # it is closed already
            self.rollback()
        super().close()


def _sqlite_engine(url: URL) -> AsyncEngine:
    settings = {"timeout": _BUSY_TIMEOUT_S, "isolation_level": None, "factory": _Connection}
    engine = create_async_engine(url, hide_parameters=True, connect_args=settings)

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads first and writes later fails with SQLITE_BUSY_SNAPSHOT, whatever the timeout.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        pool_pre_ping=True,  # else each connection that a restart of the server left behind refuses one request
        max_overflow=8,
        connect_args={
            "server_settings": {
                "lock_timeout": "10s",
                "statement_timeout": "30s",
                "idle_in_transaction_session_timeout": "10s",
            }
        },
    )


def _upgrade(connection: Any, locations: Sequence[Path]) -> None:
    from alembic import command

    config = alembic_config(locations)
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


def alembic_config(locations: Sequence[Path]) -> Any:
    """Alembic's configuration over the migrations of several packages."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(str(location) for location in locations))
    return config


__all__ = ["AsyncConnection", "AsyncSession", "Database", "Row", "alembic_config"]
