"""Promise 2: money that is left is never refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from engine.errors import FundsInsufficient
from ledger.database import Database
from tests.engine.test_engine_crash import sweep
from tests.engine.world import World, ask, built
from tests.forked import Program
from tests.rounds import LONG
from tests.upstream import FakeUpstream, FaultScript, Phase, run_upstream

CRASHES = 300 if LONG else 12
SCRIPT = FaultScript(2, "mock", (Phase(error=0.1, drop=0.1, cut=0.1, lie=0.1, delay_s=0.005),))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with run_upstream(script=SCRIPT) as running:
        yield running


@pytest.mark.database
async def test_money_that_is_left_is_never_refused(
    database: Database,
    database_url: str,
    upstream: FakeUpstream,
    record_property: Callable[[str, object], None],
) -> None:
    """Workers are killed before or after any operation of their ledger. After the sweep nothing is held, what is left
    is the cap less the sum of the rows, each upstream call has its row, and a call of exactly what is left goes
    through, to the last nano."""
    ends = await asyncio.to_thread(_crashes, database_url, upstream.api)
    assert set(ends) <= {-9, 0}
    assert ends[-9] > CRASHES // 2
    async with built(database, upstream.api) as world:
        await sweep(database)
        await _left_is_cap_less_rows(world)
        rows = [row for row in await _all_rows(world) if row.kind == "engine_call"]
        asked = upstream.asked()
        called = Counter(row.request_id for row in rows)
        for number, kinds in asked.items():
            # One more where a worker died between the journal and the wire.
            assert len(kinds) <= called[f"req_{number}"] <= len(kinds) + 1, number
        await _spend_exactly_what_is_left(world, upstream)
    record_property("figure", f"{ends[-9]} crashes, {len(rows)} calls")


def _crashes(database_url: str, api: str) -> Counter[int]:
    workers = Program("tests.promises.dying_worker", database_url, api)
    ends: Counter[int] = Counter()
    for seed in range(1, CRASHES + 1):
        workers.tell(str(seed))
        ends[int(workers.stdout.readline())] += 1
    workers.stdin.close()
    workers.wait()
    return ends


async def _left_is_cap_less_rows(world: World) -> None:
    budget, rows = await world.budget(), await _all_rows(world)
    assert budget.held_usd_nanos == 0
    assert budget.spent_usd_nanos == sum(row.cost_usd_nanos for row in rows)
    assert not await world.spend.holds(state="held")


async def _spend_exactly_what_is_left(world: World, upstream: FakeUpstream) -> None:
    request = ask("the last one", max_tokens=100)
    [best, *_] = (await world.engine.quote(request)).candidates
    used = {"prompt_tokens": best.bound.prompt_tokens, "completion_tokens": best.bound.completion_tokens}
    upstream.behave({"usage": used})
    spent = (await world.budget()).spent_usd_nanos
    await world.spend.set_limit("budget", spent + best.bound.usd_nanos)
    assert (await world.complete(request)).cost_usd_nanos == best.bound.usd_nanos
    await _left_is_cap_less_rows(world)
    budget = await world.budget()
    assert budget.spent_usd_nanos == budget.limit_usd_nanos
    with pytest.raises(FundsInsufficient):
        await world.complete(request)


async def _all_rows(world: World) -> list:
    rows, cursor = [], None
    while True:
        page = await world.events.list("tenant", limit=200, cursor=cursor)
        rows += page.events
        if page.next_cursor is None:
            return rows
        cursor = page.next_cursor
