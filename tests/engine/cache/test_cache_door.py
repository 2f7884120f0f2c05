"""The cache's door: what was paid for once is given again, to its own, for its time, and to nobody else."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine import CacheSettings
from ledger.database import Database
from ledger.errors import DatabaseUnavailable, InvalidInput
from tests.engine.cache.cache_world import COST, World, answer, question
from tests.ledger.parts import MemoryKey


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.mark.database
async def test_the_same_question_is_answered_from_what_was_kept(world: World) -> None:
    """The body comes back as it was, with who made it and what it cost then."""
    assert await world.cache.find(question()) is None
    assert await world.keep(question())
    hit = await world.cache.find(question())
    assert hit is not None
    assert (hit.body, hit.provider, hit.model) == (answer(), "mock", "mock/m1")
    assert (hit.saved_usd_nanos, hit.similarity) == (COST, None)


async def test_a_question_that_differs_in_case_and_end_marks_is_the_same_in_words(world: World) -> None:
    """It is found by nearness, and says how near it was."""
    await world.keep(question("What is the capital of France?"))
    hit = await world.cache.find(question("what is the capital of france"))
    assert hit is not None and hit.similarity is not None and hit.similarity > 0.9
    assert await world.text(question("What is the capital of Spain?")) is None


@pytest.mark.database
async def test_an_answer_ends_at_its_time(world: World) -> None:
    """The setting's hour, the request's own seconds, and a day at most; then neither way finds it."""
    await world.keep(question("One?"), ttl_s=None)
    await world.keep(question("Two?"), ttl_s=60)
    await world.keep(question("Three?"), ttl_s=10**9)
    world.clock.pass_s(61)
    assert [await world.text(question(f"{it}?")) for it in ("One", "Two", "Three")] == ["Paris.", None, "Paris."]
    world.clock.pass_s(3_600)
    assert [await world.text(question(f"{it} ?")) for it in ("One", "Three")] == [None, "Paris."]
    world.clock.pass_s(86_400)
    assert await world.text(question("Three?")) is None
    assert await world.cache.delete_ended() == 3
    assert await _rows(world, "cache_entries") + await _rows(world, "vault_items") == 0


async def test_a_later_answer_takes_the_place_of_an_earlier(world: World) -> None:
    """One question has one entry, and one item of each sort in the vault."""
    await world.keep(question(), "first")
    await world.keep(question(), "second")
    assert await world.text(question()) == "second"
    assert await world.text(question("what is the capital of France")) == "second"
    assert (await _rows(world, "cache_entries"), await _rows(world, "vault_items")) == (1, 2)


@pytest.mark.database
async def test_processes_see_each_others_answers_and_deletions(world: World) -> None:
    """New entries are read behind the last number seen; what was deleted elsewhere is not served."""
    other = world.another()
    await world.keep(question("What is the capital of France?"))
    assert await other.text(question("what is the capital of france")) == "Paris."
    await world.keep(question("What is the capital of Spain?"), "Madrid.")
    assert await other.text(question("what is the capital of spain")) == "Madrid."
    await world.cache.invalidate("acme")
    assert await other.text(question("what is the capital of spain")) is None
    assert await other.text(question("What is the capital of Spain?")) is None
    await world.keep(question("What is the capital of Spain?"), "Madrid!")
    assert await other.text(question("what is the capital of spain")) == "Madrid!"


@pytest.mark.database
async def test_the_least_recently_used_answers_make_room(world: World) -> None:
    """What was asked for since stays; the vault holds nothing of what went."""
    await world.cache.configure("acme", {"max_entries": 3})
    for number in range(3):
        await world.keep(question(f"Question {number}?"))
        world.clock.pass_s(1)
    assert await world.text(question("Question 0?")) == "Paris."
    await world.cache.flush()
    await world.keep(question("Question 3?"))
    assert [await world.text(question(f"Question {number}?")) is not None for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    assert (await _rows(world, "cache_entries"), await _rows(world, "vault_items")) == (3, 6)


@pytest.mark.database
async def test_sums_are_right_over_processes_and_count_only_once(world: World) -> None:
    """After each has written what it counted: hits, misses, and what the hits would have cost."""
    other = world.another()
    await world.keep(question())
    for _ in range(3):
        await world.cache.find(question())
        await other.cache.find(question("What is the capital of Spain?"))
    await other.cache.find(question())
    await other.cache.flush()
    await other.cache.flush()
    stats = await world.cache.stats("acme")
    assert (stats["hits"], stats["misses"], stats["hit_rate"], stats["entries"]) == (4, 3, 4 / 7, 1)
    assert (stats["saved_usd"], stats["saved_usd_exact"]) == (0.01, "0.01")
    assert (await world.cache.stats("other"))["hits"] == 0


async def test_counts_that_could_not_be_written_are_written_later(world: World) -> None:
    """A database that was away for a tick loses no count."""
    await world.keep(question())
    await world.cache.find(question())
    await _run(world, "ALTER TABLE cache_tenants RENAME TO away")
    with pytest.raises((DatabaseUnavailable, DBAPIError)):
        await world.cache.flush()
    await _run(world, "ALTER TABLE away RENAME TO cache_tenants")
    assert (await world.cache.stats("acme"))["hits"] == 1


async def test_a_cache_that_breaks_is_a_miss_and_nobodys_error(
    world: World, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The vault of other keys, or a table that is gone: no answer, no exception, a line in the log by class name."""
    await world.keep(question())
    stranger = World(database, world.clock, MemoryKey())
    stranger.key.keyed_hash = world.key.keyed_hash  # type: ignore[method-assign]  # finds the row, opens nothing
    with caplog.at_level(logging.WARNING):
        assert await stranger.text(question()) is None
        assert not await stranger.keep(question("Another?"))
        await _run(world, "ALTER TABLE cache_entries RENAME TO away")
        assert await world.text(question()) is None
        assert not await world.keep(question())
    assert "VaultUnreadable" in caplog.text
    assert "capital" not in caplog.text and "Paris" not in caplog.text


async def test_no_table_but_the_vault_holds_words(world: World) -> None:
    """Neither question nor answer stands anywhere in clear, nor a vector from which words could be guessed."""
    await world.keep(question("The planted question?"), "the planted answer")
    rows = []
    async with world.database.read() as session:
        for table in ("cache_entries", "cache_tenants", "vault_items"):
            rows += (await (await session.connection()).execute(text(f"SELECT * FROM {table}"))).all()
    assert len(rows) == 4
    assert "planted" not in repr(rows)
    assert max(len(value) for row in rows[:2] for value in row if isinstance(value, str | bytes)) <= 64


@pytest.mark.database
async def test_entries_tell_what_is_kept_and_never_its_words(world: World) -> None:
    """Newest first, of the tenant only, without those that have ended."""
    await world.keep(question("Gone?"), ttl_s=1)
    world.clock.pass_s(2)
    await world.keep(question("One?"))
    await world.keep(question("Two?", tenant="other"))
    await world.keep(question("Three?"), model="mock/m2")
    listed = await world.cache.entries("acme")
    assert [entry["model"] for entry in listed["data"]] == ["mock/m2", "mock/m1"]
    assert listed["data"][0].keys() == {
        *("id", "provider", "model", "answer_bytes", "saved_per_hit_usd", "saved_per_hit_usd_exact"),
        *("created_at", "used_at", "ends_at"),
    }
    assert "Three" not in repr(listed)


@pytest.mark.database
async def test_invalidation_takes_all_or_one_model_or_one_entry(world: World) -> None:
    """And of this tenant only."""
    for number in range(3):
        await world.keep(question(f"Question {number}?"), model=f"mock/m{number}")
    await world.keep(question("Question 0?", tenant="other"))
    assert await world.cache.invalidate("acme", model="mock/m0") == 1
    newest = int((await world.cache.entries("acme"))["data"][0]["id"])
    assert await world.cache.invalidate("acme", entry=newest) == 1
    assert [await world.text(question(f"Question {number}?")) for number in range(3)] == [None, "Paris.", None]
    assert await world.cache.invalidate("acme") == 1
    assert await world.cache.invalidate("acme") == 0
    assert await world.text(question("Question 0?", tenant="other")) == "Paris."


async def test_a_cache_that_is_off_keeps_and_answers_nothing(world: World) -> None:
    """For every process at once, and nothing is counted; on again, what has not ended is there."""
    other = world.another()
    await world.keep(question())
    await world.cache.configure("acme", {"enabled": False})
    assert await other.text(question()) is None
    assert not await other.keep(question("Another?"))
    await other.cache.flush()
    assert (await world.cache.stats("acme"))["misses"] == 0
    await world.cache.configure("acme", {"enabled": True})
    assert await other.text(question()) == "Paris."


async def test_a_body_with_one_bad_setting_sets_nothing(world: World) -> None:
    """Not even the good ones beside it."""
    with pytest.raises(InvalidInput):
        await world.cache.configure("acme", {"ttl_s": 5, "partition": "world"})
    assert await world.cache.settings("acme") == CacheSettings(similarity=0.8)


async def _rows(world: World, table: str) -> int:
    async with world.database.read() as session:
        return int((await (await session.connection()).execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def _run(world: World, statement: str) -> None:
    async with world.database.write() as session:
        await (await session.connection()).execute(text(statement))
