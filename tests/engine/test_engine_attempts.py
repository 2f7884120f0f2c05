"""One request over several upstreams: who fails is passed over, each call has its row, and who served is named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import Call, Completion, Options, Upstream
from engine.errors import StreamCut, UpstreamError
from ledger.database import Database
from ledger.spend import NewBudget, count, slot
from tests.engine.world import MODEL, World, account, ask, built
from tests.singly import singly
from tests.upstream import FakeUpstream

DEAD = Upstream("dead", "http://127.0.0.1:9/v1", models=(MODEL,))
ANY = ask("a question", model="m1", max_tokens=50)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "behaviour", [{"status": 500}, {"status": 429, "retry_after": "30"}, {"drop": True}, {"raw": "no json"}]
)
async def test_a_call_that_fails_before_its_first_token_is_made_elsewhere(
    database: Database, upstream: FakeUpstream, streamed: bool, behaviour: dict[str, Any]
) -> None:
    """One answer, two calls, two rows of one request; the second one's row knows what the first came to."""
    again = Upstream("again", upstream.api, models=(MODEL,))
    async with built(database, upstream.api, others=(again,)) as world:
        upstream.behave(behaviour)
        if streamed:
            chunks = [chunk async for chunk in singly(world.engine.stream(ANY, world.account, Call("req_1")))]
            done = chunks[-1].completion
        else:
            done = await world.engine.complete(ANY, world.account, Call("req_1"))
        assert done is not None and done.text == "You said: a question"
        assert [attempt.outcome == "served" for attempt in done.attempts] == [False, True]
        assert done.provider == done.attempts[-1].provider != done.attempts[0].provider
        served, failed = await world.rows()
        assert (served.id, served.provider, served.decision) == (done.id, done.provider, "allowed")
        assert failed.id == done.attempts[0].event_id and failed.request_id == served.request_id
        assert [each["event_id"] for each in served.trace["attempts"]] == [failed.id]
        budget = await world.budget()
        assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (served.cost_usd_nanos + failed.cost_usd_nanos, 0)
        assert upstream.count == 2


async def test_an_upstream_that_is_not_there_costs_nothing_and_nobody_waits(
    database: Database, upstream: FakeUpstream
) -> None:
    """Nothing reached it, so it has no row; the answer comes from the other."""
    async with built(database, upstream.api, others=(DEAD,)) as world:
        for number in range(6):
            done = await world.engine.complete(ANY, world.account, Call(f"req_{number}"))
            assert done.provider == "mock"
        assert len(await world.rows()) == upstream.count == 6


async def test_a_request_counts_once_however_often_it_is_tried(database: Database, upstream: FakeUpstream) -> None:
    """Three attempts take one of the hour, hold one slot at a time, and give it back."""
    async with built(database, upstream.api) as world:
        await world.spend.open_budget(NewBudget("rate:t", "tenant", "rate", 10))
        await world.spend.open_budget(NewBudget("slots:t", "tenant", "slots", 1))
        upstream.behave(always={"status": 500})
        with pytest.raises(UpstreamError) as raised:
            await world.engine.complete(ANY, account(count("rate:t"), slot("slots:t"), "budget"), Call("req_1"))
        assert upstream.count == 3
        rows = await world.rows()
        assert raised.value.charged_usd_nanos == sum(row.cost_usd_nanos for row in rows)
        rate, slots = await world.spend.budget("rate:t"), await world.spend.budget("slots:t")
        assert rate is not None and slots is not None
        assert (rate.spent_usd_nanos, slots.held_usd_nanos, slots.spent_usd_nanos) == (1, 0, 0)


async def test_what_broke_after_its_first_token_is_not_begun_again(database: Database, upstream: FakeUpstream) -> None:
    """The caller has a part of the answer: it ends with an error that says what was charged, and there is one call."""
    again = Upstream("again", upstream.api, models=(MODEL,))
    async with built(database, upstream.api, others=(again,)) as world:
        upstream.behave({"text": "one two three four", "cut_after": 2})
        stream = singly(world.engine.stream(ANY, world.account, Call("req_1")))
        assert (await anext(stream)).text == "one"
        with pytest.raises(StreamCut) as raised:
            async for _ in stream:
                pass
        [row] = await world.rows()
        assert upstream.count == 1 and raised.value.charged_usd_nanos == row.cost_usd_nanos > 0


async def test_without_failover_the_first_failure_is_the_answer(database: Database, upstream: FakeUpstream) -> None:
    again = Upstream("again", upstream.api, models=(MODEL,))
    async with built(database, upstream.api, others=(again,)) as world:
        upstream.behave({"status": 500})
        with pytest.raises(UpstreamError):
            await world.engine.complete(ANY, world.account, Call("req_1"), Options(failover=False))
        assert upstream.count == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_retry_waits_for_the_first_between_its_attempts_too(
    database: Database, upstream: FakeUpstream, streamed: bool
) -> None:
    """It holds nothing while it waits for a limit, and yet it is at work: one answer, one charge."""
    call, waits = Call("req_1", retry_key="same", keep_s=600), Options(rate_limit_strategy="queue")
    async with built(database, upstream.api) as world:
        upstream.behave({"status": 429, "retry_after": "0.1"})
        first = asyncio.create_task(_answer(world, call, waits, streamed))
        while not await world.rows():
            await asyncio.sleep(0)
        assert not first.done()
        joined = await world.engine.joined(world.account, call)
        assert joined is not None and joined.id == (await first).id
        assert upstream.count == 2


async def _answer(world: World, call: Call, options: Options, streamed: bool) -> Completion:
    if not streamed:
        return await world.engine.complete(ANY, world.account, call, options)
    chunks = [chunk async for chunk in singly(world.engine.stream(ANY, world.account, call, options))]
    assert chunks[-1].completion is not None
    return chunks[-1].completion
