"""Each upstream call is held before, priced after, and has exactly one row, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from engine import Call, Chunk, CompletionRequest, Options, UpstreamError
from engine.errors import (
    FundsInsufficient,
    PromptRejected,
    StreamCut,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from ledger.database import Database
from ledger.errors import BudgetRefused, NotFound
from ledger.spend import NewBudget
from tests.engine.world import ONCE, World, account, ask, built
from tests.singly import singly
from tests.upstream import FakeUpstream

FOUR_WORDS = {"text": "four words of answer", "usage": {"prompt_tokens": 20, "completion_tokens": 4}}
COST = 20 * 150 + 4 * 600  # nanos: 0.15 and 0.60 USD per million tokens


async def read(world: World, request: CompletionRequest, into: list[Chunk] | None = None) -> list[Chunk]:
    chunks = [] if into is None else into
    async for chunk in singly(world.engine.stream(request, world.account, Call("req_1"), ONCE)):
        chunks.append(chunk)
    return chunks


async def test_a_completion_is_captured_at_its_price_with_one_row(world: World, upstream: FakeUpstream) -> None:
    """What was held is given back to the nano, and the completion's id is its event's."""
    upstream.behave(FOUR_WORDS)
    done = await world.complete(ask("a question"))
    assert (done.text, done.finish_reason, done.cost_usd_nanos) == ("four words of answer", "stop", COST)
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (COST, 0)
    [row] = await world.rows()
    assert (row.id, row.cost_usd_nanos, row.upstream_cost_usd_nanos) == (done.id, COST, COST)
    assert (row.provider, row.model, row.input_tokens, row.output_tokens) == ("mock", "mock/m1", 20, 4)
    assert (row.estimated, row.evidence_status, row.decision) == (False, "present", "allowed")
    assert row.price_version == "settings/150000000:600000000:-:-"
    assert upstream.count == 1


async def test_the_row_says_what_the_call_was_for(world: World, upstream: FakeUpstream) -> None:
    """Task, revenue, receipt and attribution ride on the event, and no word of prompt or answer does."""
    call = Call("req_9", "task_1", 10_000_000, "rcpt_1", "pay_1", {"department_id": "d7"})
    await world.engine.complete(ask("secret-prompt"), world.account, call, ONCE)
    [row] = await world.rows()
    assert (row.request_id, row.task_id, row.revenue_usd_nanos) == ("req_9", "task_1", 10_000_000)
    assert (row.receipt_id, row.payment_id, row.attribution) == ("rcpt_1", "pay_1", {"department_id": "d7"})
    assert "secret-prompt" not in repr(row)


async def test_a_stream_says_and_costs_what_a_completion_does(world: World, upstream: FakeUpstream) -> None:
    """The last chunk, and no other, carries the finish reason and the completion; it comes after the capture."""
    whole = await world.complete(ask("the same question"))
    chunks = await read(world, ask("the same question"))
    assert len(chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert all(chunk.completion is None for chunk in chunks[:-1])
    assert not any(choice["finish_reason"] for chunk in chunks[:-1] for choice in chunk.body["choices"])
    assert {chunk.body["id"] for chunk in chunks} == {chunks[-1].completion.id if chunks[-1].completion else None}
    last = chunks[-1].completion
    assert last is not None
    assert (last.text, last.finish_reason, last.usage) == (whole.text, whole.finish_reason, whole.usage)
    assert last.cost_usd_nanos == whole.cost_usd_nanos
    assert (await world.budget()).spent_usd_nanos == 2 * whole.cost_usd_nanos
    assert len(await world.rows()) == upstream.count == 2


async def test_a_refusal_for_lack_of_room_calls_nobody(database: Database, upstream: FakeUpstream) -> None:
    """One nano under the bound: refused with the room that was seen, no call, no row, nothing held."""
    async with built(database, upstream.api) as world:
        bound = (await world.engine.quote(ask("q", max_tokens=10))).bound_usd_nanos
        await world.spend.set_limit("budget", bound - 1)
        for attempt in (world.complete, lambda request: read(world, request)):
            with pytest.raises(FundsInsufficient) as refused:
                await attempt(ask("q", max_tokens=10))
            assert isinstance(room := refused.value.__cause__, BudgetRefused)
            assert (room.asked_usd_nanos, room.room_usd_nanos) == (bound, bound - 1)
        await world.spend.set_limit("budget", bound)
        assert upstream.count == 0
        assert [(row.kind, row.cost_usd_nanos) for row in await world.rows()] == [("refusal", 0)] * 2
        await world.complete(ask("q", max_tokens=10))


@pytest.mark.database
async def test_a_call_is_held_on_all_budgets_or_on_none(world: World, upstream: FakeUpstream) -> None:
    """The second budget has no room: the first is untouched, and nobody is called."""
    await world.spend.open_budget(NewBudget("small", "tenant", "day", 10))
    with pytest.raises(FundsInsufficient) as refused:
        await world.engine.complete(ask("q"), account("budget", "small"), Call("req_1"))
    assert isinstance(room := refused.value.__cause__, BudgetRefused)
    assert room.budget_id == "small"
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos, upstream.count) == (0, 0, 0)
    with pytest.raises(NotFound):
        await world.engine.complete(ask("q"), account("budget", "nowhere"), Call("req_1"))


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"status": 400}, PromptRejected),
        ({"status": 401}, UpstreamDenied),
        ({"status": 402}, UpstreamDenied),
        ({"status": 403}, UpstreamDenied),
        ({"status": 404}, UpstreamRefused),
        ({"status": 429, "retry_after": "2"}, UpstreamBusy),
        ({"status": 503, "retry_after": "2"}, UpstreamOverloaded),
        ({"status": 529}, UpstreamOverloaded),
        ({"status": 302}, UpstreamRefused),
    ],
)
async def test_a_refused_call_costs_nothing_and_has_its_row(
    world: World, upstream: FakeUpstream, behaviour: dict[str, Any], error: type[UpstreamError]
) -> None:
    """A 4xx or an overload is not billed: the hold is released, and the one row of the call says why."""
    upstream.behave(behaviour)
    with pytest.raises(error) as raised:
        await world.complete(ask("a question"))
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (0, 0)
    [row] = await world.rows()
    assert (row.cost_usd_nanos, row.decision, row.deny_code) == (0, "upstream_refused", error.code)
    assert upstream.count == 1
    assert raised.value.retry_after_ms == (2_000 if "retry_after" in behaviour else None)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"status": 500}, UpstreamError),
        ({"status": 504}, UpstreamError),
        ({"status": 408}, UpstreamTimedOut),
        ({"raw": '{"error": {"message": "no"}}'}, UpstreamError),
        ({"drop": True}, StreamCut),
        ({"cut_after": 1}, StreamCut),
        ({"raw": "no json"}, UpstreamGarbled),
        ({"raw": '{"choices": []}'}, UpstreamGarbled),
        ({"raw": '{"choices": [{"message": {"content": "half"}}]}'}, UpstreamGarbled),
        ({"raw": '{"choices": [{"message": {"content": 7}}]}'}, UpstreamGarbled),
        ({"raw": "[]"}, UpstreamGarbled),
    ],
)
async def test_a_failed_call_that_may_be_billed_is_charged_its_prompt(
    world: World, upstream: FakeUpstream, behaviour: dict[str, Any], error: type[UpstreamError]
) -> None:
    """Never the bound: what we know was used, flagged as an estimate, in the one row of the call."""
    upstream.behave(behaviour)
    request = ask("a question of some length, so that it has a price")
    with pytest.raises(error) as raised:
        await world.complete(request)
    [row] = await world.rows()
    bound = (await world.engine.quote(request)).bound_usd_nanos
    assert 0 < row.cost_usd_nanos == raised.value.charged_usd_nanos < bound // 2
    assert (row.estimated, row.evidence_status, row.deny_code) == (True, "missing", raised.value.code)
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (row.cost_usd_nanos, 0)


async def test_an_upstream_that_goes_quiet_is_given_up(database: Database, upstream: FakeUpstream) -> None:
    """The call was sent: it has a row, charged its prompt."""
    upstream.behave({"gate_after": 0})
    async with built(database, upstream.api, quiet_timeout_s=0.2) as world:
        with pytest.raises(UpstreamTimedOut):
            await world.complete(ask("a question"))
        [row] = await world.rows()
        assert row.estimated and row.cost_usd_nanos > 0
        assert (await world.budget()).held_usd_nanos == 0


async def test_an_upstream_that_is_not_there_is_no_call(database: Database) -> None:
    """Nothing left the process: no row, nothing held, nothing spent."""
    async with built(database, "http://127.0.0.1:9/v1") as world:
        with pytest.raises(UpstreamUnreachable):
            await world.complete(ask("a question"))
        budget = await world.budget()
        assert (budget.spent_usd_nanos, budget.held_usd_nanos, await world.rows()) == (0, 0, [])


@pytest.mark.parametrize(
    "behaviour", [{"cut_after": 3}, {"error_after": 3}, {"garbage_after": 3}, {"gate_after": 3}, {"end_early": True}]
)
async def test_a_cut_stream_never_looks_whole(
    database: Database, upstream: FakeUpstream, behaviour: dict[str, Any]
) -> None:
    """It ends with an error, no chunk has a finish reason, and what came is charged once, as an estimate."""
    upstream.behave({"text": "one two three four five six"} | behaviour)
    async with built(database, upstream.api, quiet_timeout_s=0.2) as world:
        chunks: list[Chunk] = []
        with pytest.raises(UpstreamError) as raised:
            await read(world, ask("count"), chunks)
        assert "".join(chunk.text for chunk in chunks).startswith("one two three")
        assert not any(choice["finish_reason"] for chunk in chunks for choice in chunk.body["choices"])
        [row] = await world.rows()
        assert row.estimated and row.output_tokens > 0
        assert row.cost_usd_nanos == raised.value.charged_usd_nanos == (await world.budget()).spent_usd_nanos
        assert (await world.budget()).held_usd_nanos == 0


async def test_a_client_that_leaves_a_stream_pays_what_was_produced(world: World, upstream: FakeUpstream) -> None:
    """Closing the stream stops the upstream and captures the prompt and what had come; one row."""
    upstream.behave({"text": "one two three four five six", "gate_after": 3})
    stream = singly(world.engine.stream(ask("count"), world.account, Call("req_1"), ONCE))
    seen = [(await anext(stream)).text for _ in range(3)]
    await stream.aclose()
    assert seen == ["one", " two", " three"]
    upstream.until(lambda calls: calls["left"] == 1)
    [row] = await world.rows()
    assert (row.decision, row.estimated, row.output_tokens) == ("cut_short", True, -(-len("one two three") // 4))
    assert (await world.budget()).held_usd_nanos == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_call_ends_its_hold_with_one_row(
    world: World, upstream: FakeUpstream, streamed: bool
) -> None:
    """Cancelled while the upstream thinks: it is let go at once, its prompt is charged."""
    upstream.behave({"gate_after": 0})
    request = ask("a question")
    calling = asyncio.create_task(read(world, request) if streamed else world.complete(request))
    await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
    assert (await world.budget()).held_usd_nanos > 0
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.to_thread(upstream.until, lambda calls: calls["left"] == 1)
    [row] = await world.rows()
    assert row.decision == "cut_short" and row.estimated
    budget = await world.budget()
    assert (budget.spent_usd_nanos, budget.held_usd_nanos) == (row.cost_usd_nanos, 0)


@pytest.mark.database
async def test_a_call_cancelled_at_any_moment_leaves_nothing_held(world: World, upstream: FakeUpstream) -> None:
    """Cancelled after 0, 1, 2... turns of the loop: rows = upstream calls, held = 0, spent = sum of the rows."""
    for turns in range(0, 120, 3):
        calling = asyncio.create_task(world.complete(ask("a question")))
        for _ in range(turns):
            await asyncio.sleep(0)
        calling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling
    await world.complete(ask("a last question"))  # whatever was abandoned before it is settled by now
    budget, rows = await world.budget(), (await world.events.list("tenant", limit=200)).events
    assert budget.held_usd_nanos == 0
    assert budget.spent_usd_nanos == sum(row.cost_usd_nanos for row in rows)
    assert len(rows) >= upstream.count


@pytest.mark.parametrize(
    "usage",
    [
        "none",
        {},
        {"prompt_tokens": -5, "completion_tokens": 4},
        {"prompt_tokens": 20, "completion_tokens": "4"},
        {"prompt_tokens": 20, "completion_tokens": True},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 20, "completion_tokens": 0},
        {"prompt_tokens": 20, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 21}},
        {"prompt_tokens": 10**8, "completion_tokens": 4},
        {"prompt_tokens": 20, "completion_tokens": 10**30},
    ],
)
async def test_a_count_that_cannot_be_true_is_replaced_by_an_estimate(
    world: World, upstream: FakeUpstream, usage: Any
) -> None:
    """Missing, negative, contradictory or absurd: charged by bytes, flagged, never above the bound, never nothing."""
    upstream.behave(FOUR_WORDS | {"usage": usage}, FOUR_WORDS | {"usage": usage})
    request = ask("a question", max_tokens=50)
    done = await world.complete(request)
    last = (await read(world, request))[-1].completion
    assert last is not None
    bound = (await world.engine.quote(request)).bound_usd_nanos
    assert done.estimated and last.estimated
    assert 0 < done.cost_usd_nanos == last.cost_usd_nanos < bound
    for row in await world.rows():
        assert (row.estimated, row.evidence_status) == (True, "missing")
        assert row.input_tokens > 0 and row.output_tokens > 0


async def test_an_overrun_without_room_is_borne_by_the_node_and_reported(
    database: Database, upstream: FakeUpstream
) -> None:
    """A little over the bound and no room left: the bound is charged, the row has the bill and the difference."""
    async with built(database, upstream.api) as world:
        request = ask("a question", max_tokens=10)
        bound = (await world.engine.quote(request)).bound_usd_nanos
        await world.spend.set_limit("budget", bound)
        upstream.behave({"usage": {"prompt_tokens": 200, "completion_tokens": 20}})
        done = await world.complete(request)
        billed = 200 * 150 + 20 * 600
        assert (done.cost_usd_nanos, done.overrun_usd_nanos) == (bound, billed - bound)
        [row] = await world.rows()
        assert row.upstream_cost_usd_nanos == billed == row.cost_usd_nanos + row.overrun_usd_nanos
        assert (await world.budget()).room_usd_nanos == 0


async def test_a_crash_in_mid_stream_is_charged_what_was_known(world: World, upstream: FakeUpstream) -> None:
    """The floor on the hold grows with the stream, so that a sweep after the owner's death charges what had come."""
    words = " ".join(["word"] * 1_000)
    upstream.behave({"text": words, "gate_after": 900})
    stream = singly(world.engine.stream(ask("talk", max_tokens=2_000), world.account, Call("req_1")))
    for _ in range(900):
        await anext(stream)
    [hold] = await world.spend.holds(state="held", budget_id="budget")
    produced_tokens = len(" word" * 900) // 4
    assert hold.floor_event is not None
    assert produced_tokens - 300 < hold.floor_event["output_tokens"] <= produced_tokens
    assert hold.floor_usd_nanos == hold.floor_event["upstream_cost_usd_nanos"] > 0
    assert hold.floor_event["evidence_status"] == "missing" and hold.floor_event["estimated"]
    await stream.aclose()


async def test_a_long_call_keeps_its_lease(database: Database, upstream: FakeUpstream) -> None:
    """While the upstream thinks, the lease of the hold is renewed."""
    upstream.behave({"gate_after": 0})
    async with built(database, upstream.api, lease_s=0.3) as world:
        calling = asyncio.create_task(world.complete(ask("a question")))
        await asyncio.to_thread(upstream.until, lambda calls: calls["waiting"] == 1)
        [first] = await world.spend.holds(state="held", budget_id="budget")
        renewed = first
        while renewed.lease_until_us < first.lease_until_us + 200_000:
            [renewed] = await world.spend.holds(state="held", budget_id="budget")
        upstream.open()
        await calling


async def test_only_openais_fields_leave(world: World, upstream: FakeUpstream) -> None:
    """Our own fields, attribution and who the customer is stay here; the upstream refuses what is not OpenAI's."""
    body = {
        "model": "mock/m1",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 30,
        "temperature": 0.5,
        "seed": 7,
        "stop": None,
        "p402": {"session_id": "sess_1", "mode": "cost"},
        "metadata": {"customer_id": "c1"},
        "user": "customer-1",
        "safety_identifier": "customer-1",
        "store": True,
        "service_tier": "auto",
    }
    await world.complete(CompletionRequest.parse(body))
    await read(world, CompletionRequest.parse(body))
    calls = upstream.calls()
    assert (calls["count"], calls["violations"]) == (2, [])
    whole, streamed = calls["bodies"]
    assert whole == {
        "model": "m1",
        "messages": body["messages"],
        "max_tokens": 30,
        "temperature": 0.5,
        "seed": 7,
    }
    assert streamed == whole | {"stream": True, "stream_options": {"include_usage": True}}


async def test_several_answers_are_bounded_and_priced_together(world: World, upstream: FakeUpstream) -> None:
    """`n` multiplies the bound of the answer, and all choices come back."""
    one, three = ask("q", max_tokens=100), ask("q", max_tokens=100, n=3)
    quotes = [await world.engine.quote(request) for request in (one, three)]
    assert quotes[1].bound_usd_nanos - quotes[0].bound_usd_nanos == 200 * 600
    done = await world.complete(three)
    assert len(done.choices) == 3
    chunks = await read(world, three)
    assert {choice["index"] for chunk in chunks for choice in chunk.body["choices"]} == {0, 1, 2}
    assert chunks[-1].completion is not None and chunks[-1].completion.text == done.text


@pytest.mark.parametrize("within", [True, False])
async def test_an_upstream_that_counts_too_much_charges_nobody_more_than_max_cost(
    world: World, upstream: FakeUpstream, within: bool
) -> None:
    """The budgets have room, and yet the caller said how much: what is beyond it the node bears."""
    upstream.behave({"usage": {"prompt_tokens": 300, "completion_tokens": 15, "total_tokens": 315}})
    request, billed = ask("a question", max_tokens=10), 300 * 150 + 15 * 600
    bound = (await world.engine.quote(request)).bound_usd_nanos
    assert bound < billed < 2 * bound
    most = Options(failover=False, max_cost_usd_nanos=billed if within else billed - 1)
    done = await world.engine.complete(request, world.account, Call("req_1"), most)
    charged = billed if within else bound
    assert (done.cost_usd_nanos, done.overrun_usd_nanos) == (charged, billed - charged)
    assert (await world.budget()).spent_usd_nanos == charged
