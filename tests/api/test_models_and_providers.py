"""The lists of models and providers, and the comparison of what work costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from api_node import ApiNode, running
from hypothesis import given
from hypothesis import strategies as st

from agentnode.api.models import Page
from agentnode.settings import load
from engine import OFFLINE, Catalog, Model, Models, Providers, compare, picks, with_known
from engine.catalog import ModelPrice, TokenRate
from tests.ledger.parts import SetClock

M1 = {
    "id": "m1",
    "input_usd_per_mtok": "0.15",
    "output_usd_per_mtok": "0.60",
    "context": 128000,
    "max_output": 4096,
    "capabilities": ["chat", "vision"],
    "quality": 0.4,
}


@pytest.fixture
async def node(database_url: str, tmp_path: Path) -> AsyncIterator[ApiNode]:
    upstreams = [{"name": "mock", "base_url": "http://127.0.0.1:1/v1", "models": [M1, M1 | {"id": "maker/m2"}]}]
    settings = load({}, data=tmp_path, chain="none", database_url=database_url, upstreams=upstreams)
    async with running(settings) as made:
        yield made


async def test_openais_list_is_open_and_has_what_can_be_called(node: ApiNode) -> None:
    """Its four members and our facts; `/api/v2/models` also has what waits for a key, and says so."""
    client = node.client()
    here = (await client.http.get("/v1/models")).json()
    assert here["object"] == "list" and [each["id"] for each in here["data"]] == [
        "mock/m1",
        "mock/maker/m2",
        "offline/extract",
    ]
    first, second, _ = here["data"]
    assert (first["object"], first["owned_by"], second["owned_by"]) == ("model", "mock", "maker")
    assert isinstance(first["created"], int)
    assert (first["input_usd_per_mtok"], first["input_usd_per_mtok_exact"]) == (0.15, "0.15")
    assert (first["tier"], first["capabilities"], first["context_window"]) == ("budget", ["chat", "vision"], 128000)
    everything = (await client.ask("GET", "/models"))["data"]
    by_id = {each["id"]: each for each in everything}
    assert len(everything) > 1_000 and by_id["mock/m1"] == first
    nano = by_id["openai/gpt-4o-mini"]
    assert nano["available"] is False and nano["price_date"] and nano["price_version"].startswith("genai-prices/")
    assert {each["available"] for each in everything} == {True, False}
    free = [each for each in everything if each["free"]]
    assert free and all(each["price_source"].startswith("openrouter.ai calls it free") for each in free)


def test_a_list_that_was_written_is_given_again_until_a_price_changes() -> None:
    """DeepSeek's prices are halved at night."""
    clock, upstreams = SetClock(), with_known([], {})
    page = Page(Models(Catalog.load(upstreams), Providers([]), upstreams, clock), lambda model: True)
    written, shown = page.content(), set()
    assert page.content() is written
    for _ in range(24):
        clock.pass_s(3_600)
        by_id = {each["id"]: each for each in json.loads(page.content())["data"]}
        shown.add(by_id["deepseek/deepseek-chat"]["input_usd_per_mtok_exact"])
        assert page.content() is page.content()
    assert shown == {"0.27", "0.135"}


async def test_one_model_is_found_by_any_of_its_names(node: ApiNode) -> None:
    client = node.client()
    for name in ("mock/m1", "m1", "mock/maker/m2", "maker/m2", "openai/gpt-4o", "anthropic/claude-opus-4.6"):
        answer = await client.http.get(f"/v1/models/{name}")
        assert answer.status_code == 200 and answer.json()["object"] == "model"
    missing = await client.http.get("/v1/models/gpt-9")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")


async def test_providers_say_who_has_a_key(node: ApiNode) -> None:
    """Each with its models at their prices, their sources and days."""
    client = await node.tenant("acme", "chat")
    answer = await client.ask("GET", "/providers")
    by_id = {each["id"]: each for each in answer["data"]}
    assert answer["object"] == "list" and {"anthropic", "openai", "google", "xai", "mock", "offline"} <= by_id.keys()
    assert (by_id["mock"]["status"], by_id["openai"]["status"]) == ("available", "no_key")
    assert by_id["openai"]["name"] == "OpenAI"
    [first, _] = by_id["mock"]["models"]
    wire = (
        "id tier capabilities context_window max_output input_usd_per_mtok output_usd_per_mtok price_source price_date"
    )
    assert {*wire.split(), "available"} <= first.keys()


async def test_the_comparison_ranks_by_cost_and_its_parts_add_up(node: ApiNode) -> None:
    client = await node.tenant("acme", "chat")
    answer = await client.ask("POST", "/providers/compare", {"input_tokens": 10_000, "output_tokens": 500})
    assert answer["object"] == "provider_comparison"
    rows = answer["models"]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) > 300
    costs = [Decimal(row["cost_exact"]) for row in rows]
    assert costs == sorted(costs) and costs[0] > 0
    for row in rows:
        parts = row["cost_breakdown"]
        assert Decimal(parts["input_exact"]) + Decimal(parts["output_exact"]) == Decimal(row["cost_exact"])
    [m1] = [row for row in rows if row["model"] == "mock/m1"]
    assert m1["cost_exact"] == "0.0018" and m1["quality_score"] == 0.4
    assert (m1["input_cost_per_1k_exact"], m1["output_cost_per_1k_exact"]) == ("0.00015", "0.0006")
    assert answer["picks"] == {"cheapest": "mock/m1", "best_value": "mock/m1", "fastest": "mock/m1"}


async def test_the_comparison_keeps_to_what_is_asked(node: ApiNode) -> None:
    client = await node.tenant("acme", "chat")

    async def asked(**more: Any) -> list[dict[str, Any]]:
        body = {"input_tokens": 1, "output_tokens": 1, **more}
        rows: list[dict[str, Any]] = (await client.ask("POST", "/providers/compare", body))["models"]
        return rows

    assert {row["tier"] for row in await asked(tier="premium")} == {"premium"}
    assert {row["provider"] for row in await asked(exclude_providers=["OpenRouter", "openai"])}.isdisjoint(
        {"openrouter", "openai"}
    )
    assert "offline/extract" not in {row["model"] for row in await asked(capabilities=["vision"])}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input_tokens"),
        ({"input_tokens": -1, "output_tokens": 1}, "input_tokens"),
        ({"input_tokens": 1, "output_tokens": True}, "output_tokens"),
        ({"input_tokens": 1, "output_tokens": 10**8}, "output_tokens"),
        ({"input_tokens": 1, "output_tokens": 1, "tier": "gold"}, "tier"),
        ({"input_tokens": 1, "output_tokens": 1, "capabilities": "chat"}, "capabilities"),
        ({"input_tokens": 1, "output_tokens": 1, "exclude_providers": [1]}, "exclude_providers"),
        ({"input_tokens": 1, "output_tokens": 1, "models": []}, "models"),
    ],
)
async def test_what_cannot_be_compared_is_refused_by_name(node: ApiNode, body: dict[str, Any], param: str) -> None:
    client = await node.tenant("acme", "chat")
    answer = await client.http.post("/api/v2/providers/compare", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


rates = st.integers(0, 10**11).map(TokenRate)
models = st.builds(
    lambda name, fresh, output, quality: Model(
        "p", name, ModelPrice(fresh, fresh, fresh, output, output, "v"), "s", quality=quality, tier="mid"
    ),
    st.text("abc", min_size=1, max_size=4),
    rates,
    rates,
    st.floats(0, 1),
)


@given(st.lists(models, max_size=8), st.integers(0, 10**6), st.integers(0, 10**6), st.randoms())
def test_order_of_input_does_not_matter(given_models: list[Model], read: int, written: int, random: Any) -> None:
    """And no pick is dearer than the cheapest, nor one that cannot be called."""
    shuffled = random.sample(given_models, len(given_models))
    compared = compare([*given_models, OFFLINE], read, written, lambda provider: True)
    again = compare([OFFLINE, *shuffled], read, written, lambda provider: True)
    assert [each.cost_usd_nanos for each in compared] == [each.cost_usd_nanos for each in again]
    chosen = picks(compared, written)
    assert chosen.cheapest is not None and (chosen.cheapest.model == OFFLINE) == (not given_models)
    assert picks(compare(given_models, read, written, lambda provider: False), written).cheapest is None
