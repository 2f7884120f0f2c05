"""Promise 1: a cap is never passed, whatever the parallelism."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from ledger.database import Database
from ledger.spend import Spend
from tests.engine.worker import UNIT
from tests.engine.world import World, built
from tests.forked import Program
from tests.upstream import FakeUpstream

CAP_UNITS = 5
CALLS = 200
WORKERS = 3


@pytest.mark.database
async def test_a_cap_is_never_passed_whatever_the_parallelism(
    database: Database,
    database_url: str,
    upstream: FakeUpstream,
    record_property: Callable[[str, object], None],
) -> None:
    """Cap of 5 units, 200 calls of 1 unit at once over 3 processes: exactly 5 upstream calls, 5 answers, 195
    refusals; whenever looked at, what is captured and held of all the rows is within the cap; at the end it is spent.
    """
    async with built(database, upstream.api) as world:
        unit = await _make_unit_cost_its_bound(world, upstream)
        await world.spend.set_limit("budget", CAP_UNITS * unit)
        workers = [_worker(database_url, upstream.api, calls) for calls in _shares()]
        sampling = asyncio.create_task(_sample(world.spend, CAP_UNITS * unit))
        for worker in workers:
            worker.tell("go")
        # The five that got in wait at the upstream, so that all others meet a budget that is held, not spent.
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] >= CAP_UNITS)
        upstream.open()
        ends = [json.loads(await asyncio.to_thread(worker.stdout.readline)) for worker in workers]
        sampling.cancel()

        assert upstream.count == CAP_UNITS
        assert sum(end.get("done", 0) for end in ends) == CAP_UNITS
        assert sum(end.get("refused", 0) for end in ends) == CALLS - CAP_UNITS
        budget = await world.budget()
        assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (CAP_UNITS * unit, 0)
        rows = [row for row in (await world.events.list("tenant", limit=200)).events if row.kind == "engine_call"]
        assert [row.cost_usd_nanos for row in rows] == [unit] * CAP_UNITS
        with pytest.raises(asyncio.CancelledError):  # and not of a sample above the cap
            await sampling
        record_property("figure", f"{upstream.count} of {CALLS} calls in {WORKERS} processes went out")


async def _make_unit_cost_its_bound(world: World, upstream: FakeUpstream) -> int:
    [best, *_] = (await world.engine.quote(UNIT)).candidates
    used = {"prompt_tokens": best.bound.prompt_tokens, "completion_tokens": best.bound.completion_tokens}
    upstream.behave(always={"usage": used, "gate_after": 0})
    return best.bound.usd_nanos


def _shares() -> list[int]:
    return [CALLS // WORKERS + (number < CALLS % WORKERS) for number in range(WORKERS)]


def _worker(database_url: str, api: str, calls: int) -> Program:
    worker = Program("tests.engine.worker", database_url, api, str(calls))
    assert worker.stdout.readline() == "ready\n"
    return worker


async def _sample(spend: Spend, cap_usd_nanos: int) -> None:
    """Adds up the rows of the holds themselves, in one snapshot each time; the budget's own sums are not believed."""
    while True:
        holds = await spend.holds(budget_id="budget")
        held = sum(hold.amount_usd_nanos for hold in holds if hold.state == "held")
        captured = sum(hold.captured_usd_nanos for hold in holds)
        assert captured + held <= cap_usd_nanos
