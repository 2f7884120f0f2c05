"""What a request's attempts come to together: within its bound, counted once, bought once, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine import Call, Completion, Options, Upstream, UpstreamModel
from engine.errors import PromptRejected, UpstreamError
from ledger.accounts import DEFAULT_LIMITS, Limits, Policy
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import DatabaseUnavailable
from ledger.spend import Hold, NewBudget, Spend, Sweeper, count
from tests.engine.test_engine_crash import LosesTheFirstCapture, sweep
from tests.engine.world import MODEL, ONCE, World, account, ask, built
from tests.ledger.parts import LaterClock, MemoryKey
from tests.singly import singly
from tests.upstream import FakeUpstream

LONG = "a question of some length, so that its prompt has a price of its own " * 20
LIE = {"prompt_tokens": 2_000, "completion_tokens": 500, "total_tokens": 2_500}


def limited(usd_nanos: int) -> Policy:
    limits = DEFAULT_LIMITS
    one = Limits(limits.requests_per_hour, limits.usd_nanos_per_day, limits.concurrent, usd_nanos)
    return Policy(one, billing="open")


@pytest.mark.parametrize("by", ["max_cost", "policy"])
async def test_all_attempts_together_cost_no_more_than_one_request_may(
    database: Database, upstream: FakeUpstream, by: str
) -> None:
    """Two failed at a cost and the third counts too much: each is held and charged within what those before it left."""
    async with built(database, upstream.api, others=(Upstream("again", upstream.api, models=(MODEL,)),)) as world:
        request, most = ask(LONG, model="m1"), 600_000
        options = Options(max_cost_usd_nanos=most) if by == "max_cost" else Options()
        mine = account("budget", policy=limited(most)) if by == "policy" else world.account
        upstream.behave({"status": 500}, {"drop": True}, {"usage": LIE})
        done = await world.engine.complete(request, mine, Call("req_1"), options)
        rows = list(reversed(await world.rows()))
        assert [row.decision for row in rows] == ["upstream_failed", "upstream_failed", "allowed"]
        charged = [row.cost_usd_nanos for row in rows]
        assert all(charged) and sum(charged) <= most and done.overrun_usd_nanos > 0
        bounds = [row.trace["bound_usd_nanos"] for row in rows]
        assert bounds == [most, most - charged[0], most - charged[0] - charged[1]]
        asked_for = [body["max_tokens"] for body in upstream.calls()["bodies"]]
        assert asked_for == sorted(asked_for, reverse=True) and len(set(asked_for)) == 3
        assert (await world.budget()).spent_usd_nanos == sum(charged)


async def test_what_may_have_been_charged_counts_as_charged(database: Database, upstream: FakeUpstream) -> None:
    """The books did not answer at the end of the first attempt; the sweep charges it afterwards, and all is within."""
    async with built(database, upstream.api, spends=LosesTheFirstCapture) as world:
        most = 600_000
        upstream.behave({"status": 500}, {"usage": LIE})
        await world.engine.complete(ask(LONG), world.account, Call("req_1"), Options(max_cost_usd_nanos=most))
        assert await sweep(database) == 1
        lost, served = sorted(await world.rows(), key=lambda row: row.decision, reverse=True)
        assert (lost.decision, served.decision) == ("owner_lost", "allowed")
        assert served.trace["bound_usd_nanos"] == most - lost.cost_usd_nanos < most
        assert lost.cost_usd_nanos + served.cost_usd_nanos <= most


@pytest.mark.parametrize("max_tokens", [50, None])
async def test_where_too_little_is_left_for_another_attempt_the_first_failure_is_the_answer(
    database: Database, upstream: FakeUpstream, max_tokens: int | None
) -> None:
    """An answer as long as the caller set, or a fair one where it set none, is no longer within its max_cost."""
    async with built(database, upstream.api) as world:
        request = ask(LONG, max_tokens=max_tokens)
        most = (await world.engine.quote(ask(LONG, max_tokens=50 if max_tokens else 256))).bound_usd_nanos
        upstream.behave({"status": 500})
        with pytest.raises(UpstreamError) as raised:
            await world.engine.complete(request, world.account, Call("req_1"), Options(max_cost_usd_nanos=most))
        [row] = await world.rows()
        assert upstream.count == 1
        assert raised.value.charged_usd_nanos == row.cost_usd_nanos > 0 and not raised.value.should_retry
        assert world.engine.explain(request, ONCE, world.account)["breakers"]["mock"]["state"] == "closed"


async def test_a_request_that_was_charged_ends_with_what_it_was_charged(
    database: Database, upstream: FakeUpstream
) -> None:
    """Its second attempt finds no room: the error is the first one's, which says so, and the refusal is booked."""
    async with built(database, upstream.api) as world:
        request = ask("a question", max_tokens=10)
        await world.spend.set_limit("budget", (await world.engine.quote(request)).bound_usd_nanos)
        upstream.behave({"status": 500})
        with pytest.raises(UpstreamError) as raised:
            await world.engine.complete(request, world.account, Call("req_1"))
        refusal, failed = await world.rows()
        assert (refusal.kind, refusal.deny_code) == ("refusal", "INSUFFICIENT_BUDGET")
        assert raised.value.charged_usd_nanos == failed.cost_usd_nanos > 0 and not raised.value.should_retry


async def test_what_one_upstream_cannot_take_counts_no_second_request(
    database: Database, upstream: FakeUpstream
) -> None:
    """The cheapest has no such temperature, so another serves: one of the hour, and it says who was passed by."""
    cheaper = UpstreamModel("m1", input_nanos_per_mtok=1_000, output_nanos_per_mtok=1_000, max_output=4_096)
    picky = Upstream("picky", upstream.api, api="anthropic", models=(cheaper,))
    async with built(database, upstream.api, others=(picky,)) as world:
        await world.spend.open_budget(NewBudget("rate:t", "tenant", "rate", 10))
        request = ask("a question", model="m1", temperature=1.5)
        done = await world.engine.complete(request, account(count("rate:t")), Call("req_1"))
        tried = [(each.provider, each.outcome, each.event_id) for each in done.attempts]
        assert tried == [("picky", "INVALID_INPUT", None), ("mock", "served", done.id)]
        rate = await world.spend.budget("rate:t")
        assert rate is not None and rate.spent_usd_nanos == 1


class EndsWhenTold(Spend):
    """Its database takes its time to release."""

    releasing: asyncio.Event
    may_release: asyncio.Event

    async def start(self) -> None:
        self.releasing, self.may_release = asyncio.Event(), asyncio.Event()
        await super().start()

    async def release(self, hold_id: str, **named: Any) -> None:
        self.releasing.set()
        await self.may_release.wait()
        await super().release(hold_id, **named)


async def test_a_call_cancelled_while_its_hold_ends_is_out_no_more(database: Database, upstream: FakeUpstream) -> None:
    """What its upstream showed is told to the breakers all the same: a probe is given back."""
    async with built(database, upstream.api, spends=EndsWhenTold) as world:
        assert isinstance(world.spend, EndsWhenTold)
        upstream.behave({"status": 400})
        calling = asyncio.create_task(world.complete(ask("a question")))
        await world.spend.releasing.wait()
        calling.cancel()
        world.spend.may_release.set()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert world.engine.explain(ask("a question"), ONCE, world.account)["breakers"] == {}
        assert (await world.budget()).held_usd_nanos == 0


class LosesTheEnd(Spend):
    """Its database takes its time to renew, and does not answer when a hold is to be released."""

    renewing: asyncio.Event
    may_renew: asyncio.Event

    async def start(self) -> None:
        self.renewing, self.may_renew = asyncio.Event(), asyncio.Event()
        await super().start()

    async def renew(self, hold: Hold, lease_s: float = 120) -> None:
        self.renewing.set()
        await self.may_renew.wait()
        await super().renew(hold, lease_s)

    async def release(self, hold_id: str, **named: Any) -> None:
        raise DatabaseUnavailable("the database did not answer; try again")


async def test_a_hold_whose_end_was_lost_is_renewed_no_more(database: Database, upstream: FakeUpstream) -> None:
    """Though a renewal was on its way when the call ended: its lease runs out, and the sweeper ends it."""
    async with built(database, upstream.api, lease_s=0.3, spends=LosesTheEnd) as world:
        assert isinstance(world.spend, LosesTheEnd)
        upstream.behave({"gate_after": 0, "status": 400})
        calling = asyncio.create_task(world.complete(ask("a question")))
        await world.spend.renewing.wait()
        upstream.open()
        with pytest.raises(PromptRejected):
            await calling
        world.spend.may_renew.set()
        async with asyncio.timeout(20):
            while not await Sweeper(database, world.spend, SystemClock()).sweep():
                await asyncio.sleep(0)
        assert (await world.budget()).held_usd_nanos == 0


@contextlib.asynccontextmanager
async def processes(database: Database, upstream: FakeUpstream) -> AsyncIterator[tuple[World, World]]:
    """Two of one node."""
    key = MemoryKey()
    async with (
        built(database, upstream.api, key=key) as one,
        built(database, upstream.api, owner="other", key=key) as other,
    ):
        yield one, other


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_retry_at_another_process_waits_between_two_attempts_of_the_first(
    database: Database, upstream: FakeUpstream, streamed: bool
) -> None:
    """The first waits for a limit and holds no money: the other process knows it for at work, and there is one call
    that is served."""
    call, waits = Call("req_1", retry_key="same", keep_s=600), Options(rate_limit_strategy="queue")
    async with processes(database, upstream) as (world, other):
        upstream.behave({"status": 429, "retry_after": "0.3"})
        first = asyncio.create_task(_answer(world, call, waits, streamed))
        while not await world.rows():
            await asyncio.sleep(0)
        joined = await other.engine.joined(other.account, call)
        assert joined is not None and joined.id == (await first).id
        assert upstream.count == 2
        assert not await world.spend.holds(state="held")


async def test_a_request_that_is_left_between_its_attempts_lets_its_retry_run(
    database: Database, upstream: FakeUpstream
) -> None:
    """What stood for it takes no money and is gone with it, so that nobody waits."""
    call, waits = Call("req_1", retry_key="same", keep_s=600), Options(rate_limit_strategy="queue")
    async with processes(database, upstream) as (world, other):
        upstream.behave({"status": 429, "retry_after": "60"})
        first = asyncio.create_task(_answer(world, call, waits, streamed=False))
        while not await world.rows():
            await asyncio.sleep(0)
        [stands] = await world.spend.holds(state="held")
        assert (stands.amount_usd_nanos, stands.budgets, stands.request_key) == (0, (), "same")
        joining = asyncio.create_task(other.engine.joined(other.account, call))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await joining is None and not await world.spend.holds(state="held")


async def test_a_request_that_fails_in_the_end_lets_its_retry_run(database: Database, upstream: FakeUpstream) -> None:
    call = Call("req_1", retry_key="same", keep_s=600)
    async with processes(database, upstream) as (world, other):
        upstream.behave({"status": 503}, {"status": 400})
        with pytest.raises(PromptRejected):
            await _answer(world, call, Options(), streamed=False)
        assert not await world.spend.holds(state="held") and upstream.count == 2
        assert await other.engine.joined(other.account, call) is None


async def _answer(world: World, call: Call, options: Options, streamed: bool) -> Completion:
    request = ask("a question", model="m1", max_tokens=50)
    if not streamed:
        return await world.engine.complete(request, world.account, call, options)
    chunks = [chunk async for chunk in singly(world.engine.stream(request, world.account, call, options))]
    assert chunks[-1].completion is not None
    return chunks[-1].completion


THINKS = UpstreamModel("thinks", 150_000_000, 600_000_000, max_output=4_096, capabilities=("chat", "reasoning"))


@pytest.mark.parametrize(("model", "hidden"), [("mock/m1", False), ("deep/thinks", True)])
async def test_who_leaves_a_stream_pays_the_reasoning_that_went_before_its_words(
    database: Database, upstream: FakeUpstream, model: str, hidden: bool
) -> None:
    """Twenty seconds of silence, then the answer, and its reader hangs up before the count: of a model that reasons
    they are charged at its pace, as an estimate within the bound."""
    clock = LaterClock()
    deep = Upstream("deep", upstream.api, models=(THINKS,), first_token_ms=1_000, tokens_per_s=50)
    async with built(database, upstream.api, others=(deep,), clock=clock) as world:
        upstream.behave({"gate_after": 0, "text": "one two three"})
        request = ask("a question", model=model, max_tokens=2_000)
        stream = singly(world.engine.stream(request, world.account, Call("req_1"), ONCE))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
        clock.later_s = 20
        upstream.open()
        assert (await first).text == "one"
        await stream.aclose()
        [row] = await world.rows()
        assert (row.decision, row.estimated, row.evidence_status) == ("cut_short", True, "missing")
        if hidden:
            assert 19 * 50 <= row.reasoning_tokens <= 2_000 - row.output_tokens
        else:
            assert row.reasoning_tokens == 0
        assert row.cost_usd_nanos == (await world.budget()).spent_usd_nanos <= row.trace["bound_usd_nanos"]


async def test_hidden_reasoning_of_a_call_that_failed_is_the_nodes(database: Database, upstream: FakeUpstream) -> None:
    """Nobody knows of it and its caller is not the cause: the prompt and what came are charged."""
    clock = LaterClock()
    deep = Upstream("deep", upstream.api, models=(THINKS,))
    async with built(database, upstream.api, others=(deep,), clock=clock) as world:
        upstream.behave({"gate_after": 0, "status": 500})
        calling = asyncio.create_task(world.complete(ask("a question", model="deep/thinks")))
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
        clock.later_s = 20
        upstream.open()
        with pytest.raises(UpstreamError):
            await calling
        [row] = await world.rows()
        assert row.reasoning_tokens == 0 and row.estimated
