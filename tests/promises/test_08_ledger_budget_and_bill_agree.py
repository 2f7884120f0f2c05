"""Promise 8: ledger, budget and the provider's bill agree."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import Call, CompletionRequest, UpstreamError
from engine.providers import KNOWN
from ledger.database import Database
from ledger.money import NANOS_PER_USD
from tests.engine.world import World, built
from tests.singly import singly
from tests.upstream import FakeUpstream

OURS_AT_OPENROUTER = "anthropic/claude-opus-4.5"
EXAMPLES = sorted((Path(__file__).parents[1] / "engine" / "usage_examples").glob("*.json"))


@pytest.mark.database
async def test_ledger_budget_and_the_providers_bill_agree(
    database: Database, upstream: FakeUpstream, record_property: Callable[[str, object], None]
) -> None:
    """Every published usage, whole and streamed, between failures: each row, the rows' sum and the budget equal, to
    the nano, what a recomputation in decimals from the published counts and the list's prices gives.
    """
    others = [dataclasses.replace(known, base_url=upstream.api) for known in KNOWN.values() if known.price_list]
    # OpenRouter has most of the others' models too, and would be asked for them where it is cheaper.
    others = [dataclasses.replace(o, priced_prefixes=(OURS_AT_OPENROUTER,)) if o.bare_makers else o for o in others]
    examples = [json.loads(path.read_text()) for path in EXAMPLES]
    assert {example["provider"] for example in examples} >= {"openai", "anthropic", "openrouter"}
    billed = 0
    async with built(database, upstream.api, others=others) as world:
        await world.spend.set_limit("budget", 1_000 * NANOS_PER_USD)
        for example in examples:
            for replay in (_whole, _streamed):
                billed += await _agrees(world, upstream, example, replay)
            billed += await _failure_costs_its_row(world, upstream, example)
        budget, rows = await world.budget(), (await world.events.list("tenant", limit=200)).events
        assert len(rows) == upstream.count == 3 * len(examples)
        assert budget.spent_usd_nanos == sum(row.cost_usd_nanos for row in rows) == billed
        assert budget.held_usd_nanos == 0
        assert all(row.cost_usd_nanos > 0 for row in rows if row.decision == "allowed")
    record_property("promise", f"{len(examples)} usages of {len({e['provider'] for e in examples})} providers agree")


async def _agrees(world: World, upstream: FakeUpstream, example: dict[str, Any], replay: Any) -> int:
    upstream.behave({"text": "an answer", "usage": example["usage"]})
    event_id = await replay(world, _request(example))
    [row] = [row for row in (await world.events.list("tenant", limit=200)).events if row.id == event_id]
    assert row.provider == example["provider"]
    counts = (
        row.input_tokens,
        row.cached_input_tokens,
        row.cache_write_tokens,
        row.output_tokens,
        row.reasoning_tokens,
    )
    assert counts == tuple(example["tokens"].values()), example["source"]
    bill = _bill_usd_nanos(example)
    assert (row.cost_usd_nanos, row.upstream_cost_usd_nanos, row.overrun_usd_nanos) == (bill, bill, 0)
    assert (row.estimated, row.evidence_status) == (False, "present")
    return bill


async def _failure_costs_its_row(world: World, upstream: FakeUpstream, example: dict[str, Any]) -> int:
    """A refusal is not billed and is a row of nothing."""
    upstream.behave({"status": 429})
    with pytest.raises(UpstreamError):
        await world.complete(_request(example))
    return 0


async def _whole(world: World, request: CompletionRequest) -> str:
    return (await world.complete(request)).id


async def _streamed(world: World, request: CompletionRequest) -> str:
    last = [chunk async for chunk in singly(world.engine.stream(request, world.account, Call("req_1")))][-1].completion
    assert last is not None
    return last.id


def _request(example: dict[str, Any]) -> CompletionRequest:
    """A prompt that can have as many tokens as were counted."""
    tokens = example["tokens"]
    prompt = tokens["input"] + tokens["cache_read"] + tokens["cache_write"]
    message = {"role": "user", "content": "x" * prompt}
    return CompletionRequest(
        [message], f"{example['provider']}/{example['model']}", tokens["output"] + tokens["reasoning"]
    )


def _bill_usd_nanos(example: dict[str, Any]) -> int:
    """In decimals, from the price library's own entry: nothing of the engine takes part."""
    from genai_prices.data import providers

    price_list = KNOWN[example["provider"]].price_list
    [entry] = [
        model
        for provider in providers
        if provider.id == price_list
        for model in provider.models
        if model.id == example["model"]
    ]
    prices = entry.get_prices(datetime.now(UTC))
    tokens = example["tokens"]
    size = tokens["input"] + tokens["cache_read"] + tokens["cache_write"]

    def rate(name: str, otherwise: str) -> Decimal:
        listed = vars(prices).get(name)
        listed = vars(prices)[otherwise] if listed is None else listed
        if isinstance(listed, Decimal):
            return listed
        reached = [tier.price for tier in listed.tiers if size > tier.start]
        return reached[-1] if reached else listed.base

    usd = sum(
        Decimal(tokens[part]) * rate(name, otherwise)
        for part, name, otherwise in (
            ("input", "input_mtok", "input_mtok"),
            ("cache_read", "cache_read_mtok", "input_mtok"),
            ("cache_write", "cache_write_mtok", "input_mtok"),
            ("output", "output_mtok", "output_mtok"),
            ("reasoning", "output_reasoning_mtok", "output_mtok"),
        )
    )
    return int((usd * 1_000).to_integral_value(ROUND_CEILING))
