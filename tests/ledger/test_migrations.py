"""What migrations build is what the tables declare, down to each constraint; and an upgrade happens whole or not."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest
from sqlalchemy import text

from agentnode.migrations import LOCATIONS
from ledger.database import Database, Row
from tests.databases import create_postgres_database

pytestmark = pytest.mark.database

_HOUSE = Path(__file__).parent.parent.parent
_PACKAGES = ("ledger", "trust", "engine", "mandates", "bazaar", "agentnode")

_POSTGRES = {
    "columns": "SELECT table_name, column_name, data_type, udt_name, is_nullable, coalesce(column_default, ''),"
    " coalesce(collation_name, '') FROM information_schema.columns WHERE table_schema = 'public'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "storage": "SELECT relname, relname, coalesce(reloptions::text, '') FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
}


@pytest.fixture
def empty_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return create_postgres_database(request.getfixturevalue("postgres_uri"))


async def test_upgrading_builds_what_the_tables_declare(database: Database, empty_url: str) -> None:
    """Alembic's own comparison does not see a changed CHECK or the condition of an index; money hangs on them."""
    _import_all_tables()
    declared = Database(empty_url)
    async with declared.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    built, wanted = await _schema(database), await _schema(declared)
    await declared.close()
    assert any("ck_budgets_within_limit" in line for line in wanted)
    assert built - wanted == set()
    assert wanted - built == set()


async def test_processes_that_start_together_upgrade_once(empty_url: str) -> None:
    """One upgrades, the others wait for it and find it done."""
    started = [Database(empty_url) for _ in range(3)]
    await asyncio.gather(*(each.upgrade(LOCATIONS) for each in started))
    assert await _schema(started[0])
    for each in started:
        await each.close()


async def test_an_upgrade_that_fails_leaves_nothing_half_done(empty_url: str, tmp_path: Path) -> None:
    """On either database; and it can be repeated when it is mended."""
    (tmp_path / "broken_0001.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision = 'broken_0001'\ndown_revision = None\nbranch_labels = ('broken',)\ndepends_on = None\n"
        "def upgrade():\n"
        "    op.create_table('half', sa.Column('id', sa.Integer()))\n"
        "    raise RuntimeError('broken')\n"
    )
    opened = Database(empty_url)
    with pytest.raises(RuntimeError, match="broken"):
        await opened.upgrade([*LOCATIONS, tmp_path])
    assert await _schema(opened) == set()
    await opened.upgrade(LOCATIONS)
    assert await _schema(opened)
    await opened.close()


def _import_all_tables() -> None:
    for package in _PACKAGES:
        for path in (_HOUSE / package).rglob("*.py"):
            if "table=True" in path.read_text():
                importlib.import_module(".".join(path.relative_to(_HOUSE).with_suffix("").parts))


async def _schema(database: Database) -> set[str]:
    """Each column, constraint and index as a line that says where it belongs."""
    async with database.read() as session:
        connection = await session.connection()
        if not database.is_sqlite:
            rows = [
                (what, *row)
                for what, query in _POSTGRES.items()
                for row in (await connection.execute(text(query))).all()
            ]
            return {" | ".join(row) for row in rows if row[1] != "alembic_version"}
        query = "SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version'"
        found = (await connection.execute(text(query))).all()
        # A table that was rebuilt has its name in quotes.
        return {
            f"{table} | {line.strip().rstrip(',')}".replace(f'"{table}"', table)
            for table, sql in found
            for line in sql.splitlines()
        }
