"""The vault: content that only its tenant's key opens, only in its place, only until its end."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ledger.database import Database
from ledger.vault import Vault, VaultUnreadable
from tests.ledger.parts import START_US, MemoryKey, SetClock

HOUR_US = 3_600_000_000


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def vault(database: Database, clock: SetClock) -> Vault:
    return Vault(database, clock, MemoryKey())


@pytest.mark.database
async def test_content_comes_back_in_order_and_to_its_tenant_only(vault: Vault, database: Database) -> None:
    """What was put comes back by its place; another tenant, reference or number finds nothing."""
    async with database.write() as session:
        for seq in (3, 1, 2):
            await vault.put(session, "acme", "task_1", seq, f"part {seq}".encode(), None)
        await vault.put(session, "acme", "task_2", 1, b"elsewhere", None)
        assert await vault.get(session, "acme", "task_1", 2) == b"part 2"

    async with database.read() as session:
        assert await vault.range(session, "acme", "task_1", 1) == [(2, b"part 2"), (3, b"part 3")]
        assert await vault.get(session, "other", "task_1", 1) is None
        assert await vault.get(session, "acme", "task_1", 4) is None


async def test_putting_again_replaces(vault: Vault, database: Database) -> None:
    """The same place holds what was put last."""
    async with database.write() as session:
        await vault.put(session, "acme", "r", 0, b"first", None)
        await vault.put(session, "acme", "r", 0, b"second", None)
        assert await vault.range(session, "acme", "r", -1) == [(0, b"second")]


@pytest.mark.database
async def test_the_database_holds_no_content_in_clear(vault: Vault, database: Database) -> None:
    """A planted sentence is in no row of the vault, and equal content does not look equal."""
    planted = b"the planted sentence of this test"
    async with database.write() as session:
        await vault.put(session, "acme", "r", 1, planted, None)
        await vault.put(session, "acme", "r", 2, planted, None)
    async with database.read() as session:
        sealed = [
            bytes(row[0]) for row in await (await session.connection()).execute(text("SELECT sealed FROM vault_items"))
        ]
        keys = [
            bytes(row[0])
            for row in await (await session.connection()).execute(text("SELECT wrapped_key FROM vault_keys"))
        ]
    assert len(keys) == 1 and len({item[:12] for item in sealed}) == 2, "one nonce for two items"
    assert not any(planted in stored for stored in sealed + keys)


async def test_an_item_passes_for_no_other(vault: Vault, database: Database) -> None:
    """Content moved in the database to another place, or changed by a bit, does not open."""
    async with database.write() as session:
        await vault.put(session, "acme", "r", 1, b"one", None)
        await vault.put(session, "acme", "r", 2, b"two", None)
        await (await session.connection()).execute(
            text("UPDATE vault_items SET sealed = (SELECT sealed FROM vault_items WHERE seq = 1) WHERE seq = 2")
        )
        assert await vault.get(session, "acme", "r", 1) == b"one"
        with pytest.raises(VaultUnreadable):
            await vault.get(session, "acme", "r", 2)


async def test_each_tenant_has_a_key_of_its_own(database: Database, clock: SetClock) -> None:
    """A tenant whose key is removed is unreadable; the others are not."""
    vault = Vault(database, clock, MemoryKey())
    async with database.write() as session:
        await vault.put(session, "acme", "r", 1, b"acme's", None)
        await vault.put(session, "other", "r", 1, b"other's", None)
        await (await session.connection()).execute(text("DELETE FROM vault_keys WHERE tenant_id = 'acme'"))
        assert await vault.get(session, "other", "r", 1) == b"other's"
        with pytest.raises(VaultUnreadable):
            await vault.get(session, "acme", "r", 1)


async def test_another_nodes_keys_do_not_open_it(database: Database, clock: SetClock) -> None:
    """It says so, rather than give back nothing or overwrite the tenant's key."""
    async with database.write() as session:
        await Vault(database, clock, MemoryKey()).put(session, "acme", "r", 1, b"content", None)
    stranger = Vault(database, clock, MemoryKey())
    async with database.write() as session:
        with pytest.raises(VaultUnreadable):
            await stranger.get(session, "acme", "r", 1)
        with pytest.raises(VaultUnreadable):
            await stranger.put(session, "acme", "r", 2, b"more", None)


async def test_a_tenant_key_of_an_undone_transaction_seals_nothing(vault: Vault, database: Database) -> None:
    """After a rollback that took the tenant's first key with it, later content still opens."""
    async with database.write() as session:
        await vault.put(session, "acme", "r", 1, b"undone", None)
        await session.rollback()
    async with database.write() as session:
        await vault.put(session, "acme", "r", 2, b"kept", None)
    async with database.read() as session:
        assert await vault.range(session, "acme", "r", 0) == [(2, b"kept")]


@pytest.mark.database
async def test_ended_content_is_not_given_out_and_then_deleted(
    vault: Vault, database: Database, clock: SetClock
) -> None:
    """From its end date on it is gone for readers, and the job removes it; what has no end stays."""
    async with database.write() as session:
        await vault.put(session, "acme", "task", 1, b"a", None)
        await vault.put(session, "acme", "task", 2, b"b", None)
        await vault.put(session, "acme", "kept", 1, b"c", None)
        await vault.end(session, "acme", "task", START_US + HOUR_US)
    assert await vault.delete_ended() == 0
    clock.pass_s(3600)

    async with database.read() as session:
        assert await vault.range(session, "acme", "task", 0) == []
    assert await vault.delete_ended() == 2
    assert await vault.delete_ended() == 0
    async with database.read() as session:
        assert (await (await session.connection()).execute(text("SELECT count(*) FROM vault_items"))).scalar_one() == 1
        assert await vault.get(session, "acme", "kept", 1) == b"c"
