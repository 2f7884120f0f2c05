"""Promise 14: the cache never answers across callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from engine import Asked
from ledger.database import Database
from tests.engine.cache.cache_world import World, question

SAME = "What is the capital of France?"
NEARLY = ("what is the capital of france", "Tell me France's capital, please", "what's the Capital of France?")


@pytest.mark.database
async def test_the_cache_never_answers_across_callers(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    """The same and nearly the same prompt: under the key that asked it, a hit; under another tenant's a miss, and by
    setting under another key or user of the same tenant too, in this process and in another, whatever else is kept.
    """
    world = World(database)
    other = world.another()
    asked = 0

    async def answers(**who: str) -> set[str | None]:
        nonlocal asked
        found = [await each.text(question(words, **who)) for each in (world, other) for words in (SAME, *NEARLY)]
        asked += len(found)
        return set(found)

    for partition, mine, strangers in (
        ("tenant", {"key": "key_1"}, [{"tenant": "rival", "key": "key_9"}]),
        ("key", {"key": "key_1"}, [{"key": "key_2"}, {"tenant": "rival", "key": "key_1"}]),
        ("user", {"key": "key_1", "user": "ann"}, [{"user": "bob"}, {"key": "key_2", "user": "ann"}, {"key": "key_1"}]),
    ):
        await world.cache.configure("acme", {"partition": partition})
        await world.keep(question(SAME, **mine), f"by {partition}")
        assert await answers(**mine) == {f"by {partition}"}
        for stranger in strangers:
            assert await answers(**stranger) == {None}, (partition, stranger)

    # Everybody keeps an answer of their own to the very same words, at once: each gets only their own.
    await world.cache.configure("rival", {"partition": "key"})
    await world.cache.configure("acme", {"partition": "key"})
    callers = [{"tenant": tenant, "key": f"key_{number}"} for tenant in ("acme", "rival") for number in range(5)]
    await asyncio.gather(*(world.keep(question(SAME, **who), str(who)) for who in callers))
    for who in callers:
        assert await answers(**who) == {str(who)}
    record_property("figure", f"{asked} questions")


async def test_an_answer_of_another_tenant_does_not_open_even_if_its_row_is_found(database: Database) -> None:
    """Content is sealed under its tenant's key and in its place: a row moved to another tenant gives nothing."""
    from sqlalchemy import text

    world = World(database)
    await world.keep(question(SAME), "secret")
    await world.keep(question("Another?", tenant="rival"), "own")
    async with database.write() as session:
        connection = await session.connection()
        await connection.execute(text("DELETE FROM cache_entries WHERE tenant_id = 'rival'"))
        await connection.execute(text("UPDATE cache_entries SET tenant_id = 'rival'"))
        await connection.execute(text("DELETE FROM vault_items WHERE tenant_id = 'rival'"))
        await connection.execute(text("UPDATE vault_items SET tenant_id = 'rival'"))
    stolen: Asked = question(SAME, tenant="rival")
    assert await world.text(stolen) is None
