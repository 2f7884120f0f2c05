"""What becomes of a call whose process, ledger or lease ends in the middle of it: one row, never a second spend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.database import Database
from ledger.errors import DatabaseUnavailable, LedgerStopped
from ledger.ids import new_id
from ledger.spend import Captured, Spend, Sweeper
from tests.engine.world import ask, built
from tests.forked import Program
from tests.ledger.parts import LaterClock
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.database
CALLS = 20


async def sweep(database: Database) -> int:
    tomorrow = LaterClock(86_400)  # by which every lease of today has run out
    spend = Spend(database, tomorrow, new_id("sweeper"))
    await spend.start()
    try:
        return await Sweeper(database, spend, tomorrow).sweep()
    finally:
        await spend.close()


async def test_a_worker_killed_in_mid_call_leaves_one_row_for_each_call(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    """kill -9 while 20 calls are at the upstream: after the sweep nothing is held, each call has its estimated row."""
    upstream.behave(always={"gate_after": 0})
    worker = Program("tests.engine.worker", database_url, upstream.api, str(CALLS))
    worker.tell("go")
    await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == CALLS)
    worker.kill()
    async with built(database, upstream.api) as world:
        assert (await world.budget()).held_usd_nanos > 0
        assert await sweep(database) == CALLS
        rows, budget = await world.rows(), await world.budget()
        assert len(rows) == upstream.count == CALLS
        assert all(row.estimated and row.evidence_status == "missing" for row in rows)
        assert all(row.cost_usd_nanos > 0 and row.decision == "owner_lost" for row in rows)
        assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (sum(row.cost_usd_nanos for row in rows), 0)


async def test_a_late_answer_to_a_swept_call_is_a_correction(database: Database, upstream: FakeUpstream) -> None:
    """The hold was swept while the upstream thought: the floor stays charged, what is known now corrects its row."""
    upstream.behave({"gate_after": 0, "usage": {"prompt_tokens": 30, "completion_tokens": 10}})
    async with built(database, upstream.api) as world:
        calling = asyncio.create_task(world.complete(ask("a question")))
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
        assert await sweep(database) == 1
        upstream.open()
        done = await calling
        correction, swept = sorted(await world.rows(), key=lambda row: row.kind)
        assert (correction.kind, correction.corrects) == ("correction", swept.id)
        assert (correction.input_tokens, correction.output_tokens, correction.cost_usd_nanos) == (30, 10, 0)
        assert correction.upstream_cost_usd_nanos == 30 * 150 + 10 * 600
        assert (swept.id, swept.estimated) == (done.id, True)
        budget = await world.budget()
        assert budget.spent_usd_nanos == swept.cost_usd_nanos == done.cost_usd_nanos
        assert budget.held_usd_nanos == 0


class LosesTheFirstCapture(Spend):
    """The database does not answer to one capture, and does again after it."""

    lost = False

    async def capture(self, *args: Any, **named: Any) -> Captured:
        if not self.lost:
            self.lost = True
            raise DatabaseUnavailable("the database did not answer; try again")
        return await super().capture(*args, **named)


async def test_a_capture_whose_outcome_is_unknown_is_not_undone(database: Database, upstream: FakeUpstream) -> None:
    """The call was made: its hold is neither released nor captured at a guess, but left to the sweep."""
    async with built(database, upstream.api, spends=LosesTheFirstCapture) as world:
        with pytest.raises(DatabaseUnavailable):
            await world.complete(ask("a question"))
        assert (await world.budget()).held_usd_nanos > 0
        assert await sweep(database) == 1
        [row] = await world.rows()
        assert row.estimated and row.cost_usd_nanos > 0 and upstream.count == 1


async def test_an_answer_that_cannot_be_captured_is_not_given_back(database: Database, upstream: FakeUpstream) -> None:
    """The ledger stops between call and capture: the caller gets no answer, the hold waits, the sweep charges it."""
    upstream.behave({"gate_after": 0})
    async with built(database, upstream.api) as world:
        calling = asyncio.create_task(world.complete(ask("a question")))
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
        await world.spend.close()
        upstream.open()
        with pytest.raises(LedgerStopped):
            await calling
        assert await sweep(database) == 1
        [row] = await world.rows()
        assert row.estimated and row.cost_usd_nanos > 0 and upstream.count == 1


async def test_a_stopped_ledger_calls_nobody(database: Database, upstream: FakeUpstream) -> None:
    """Cannot check is never allowed."""
    async with built(database, upstream.api) as world:
        await world.spend.close()
        with pytest.raises(LedgerStopped):
            await world.complete(ask("a question"))
    assert upstream.count == 0
