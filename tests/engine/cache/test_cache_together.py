"""Processes that keep, find, count, forget and tidy up at once leave books and vault in step, and nobody fails."""

from __future__ import annotations

import asyncio
import logging
import random

import numpy
import pytest
from sqlalchemy import text

from engine.cache.nearest import Nearest, packed
from ledger.database import Database
from tests.engine.cache.cache_world import World, question
from tests.rounds import rounds


@pytest.mark.database
async def test_everything_at_once_breaks_nothing(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Three processes, two tenants, few places: no deadlock, each answer its own question's, no orphan in the vault."""
    first = World(database)
    worlds = [first, first.another(), first.another()]
    chance = random.Random(14)
    for tenant in ("acme", "rival"):
        await first.cache.configure(tenant, {"max_entries": 6})

    async def act(world: World) -> None:
        tenant, number = chance.choice(["acme", "rival"]), chance.randrange(12)
        asked = question(f"What is {number} plus {number}?", tenant=tenant)
        match chance.choice(["keep", "keep", "find", "find", "find", "flush", "invalidate", "ended", "pass"]):
            case "keep":
                await world.keep(asked, f"{tenant} {number}", ttl_s=chance.choice([1, 3_600]))
            case "find":
                assert await world.text(asked) in (None, f"{tenant} {number}")
            case "flush":
                await world.cache.flush()
            case "invalidate":
                await world.cache.invalidate(tenant, entry=chance.randrange(200))
            case "ended":
                await world.cache.delete_ended()
            case "pass":
                world.clock.pass_s(0.3)

    with caplog.at_level(logging.WARNING, logger="engine.cache"):
        for _ in range(rounds(12)):
            await asyncio.gather(*(act(chance.choice(worlds)) for _ in range(12)))
    assert [record.getMessage() for record in caplog.records] == []
    async with database.read() as session:
        connection = await session.connection()
        entries = {tuple(row) for row in await connection.execute(text("SELECT tenant_id, seq FROM cache_entries"))}
        for place in ("cache-answers", "cache-questions:%"):
            found = text("SELECT tenant_id, seq FROM vault_items WHERE ref LIKE :place")
            assert {tuple(row) for row in await connection.execute(found, {"place": place})} == entries
    assert 0 < len(entries) <= 12


def test_the_memory_of_questions_is_bounded_and_tidied() -> None:
    """Families used least recently go first, then the oldest; what has ended goes when something comes, and so do
    vectors of other dimensions.
    """
    known = Nearest(most_numbers=16)
    vector = numpy.eye(4, dtype="f4")[0]

    def items(*seqs: int, ends_at_us: int = 100) -> list[tuple[int, bytes]]:
        return [(seq, packed(7, ends_at_us, vector)) for seq in seqs]

    a, b, c = (("acme", "", name) for name in "abc")
    known.add(a, items(1, 2), now_us=0)
    known.add(b, items(3, 4), now_us=0)
    assert [seq for seq, _ in known.candidates(a, 7, vector, 0.8, 8)] == [2, 1]
    known.add(c, items(5), now_us=0)
    assert (known.seen_seq(a), known.seen_seq(b), known.seen_seq(c)) == (2, 0, 5)
    assert known.candidates(c, 8, vector, 0.8, 8) == []
    known.add(a, items(1, 2, 9, ends_at_us=300), now_us=200)
    assert [seq for seq, _ in known.candidates(a, 7, vector, 0.8, 8)] == [9]
    known.add(a, [(10, packed(7, 300, numpy.ones(2, dtype="f4")))], now_us=200)
    assert known.candidates(a, 7, vector, 0.8, 8) == []
    known.add(a, items(11, 12, 13, 14, 15, ends_at_us=300), now_us=200)
    assert [seq for seq, _ in known.candidates(a, 7, vector, 0.8, 8)] == [15, 14, 13, 12]
    known.forget(a, 15)
    assert [seq for seq, _ in known.candidates(a, 7, vector, 0.8, 8)] == [14, 13, 12]
