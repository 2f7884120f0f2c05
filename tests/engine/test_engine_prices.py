"""Prices are integers, rounded up once against the payer, and equal to the library's own arithmetic."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import OFFLINE, Catalog, Upstream, UpstreamModel, Usage, with_known
from engine.catalog import Model, ModelPrice, TokenRate, bound_usd_nanos, cost_usd_nanos
from engine.providers import KNOWN

NOW_US = time.time_ns() // 1_000

counts = st.integers(0, 2_000_000)
usages = st.builds(Usage, counts, counts, counts, counts, counts)
nanos = st.integers(0, 10**12)
rates = st.builds(
    TokenRate,
    nanos,
    st.lists(st.tuples(st.integers(1, 1_000_000), nanos), max_size=3).map(lambda steps: tuple(sorted(steps))),
)
prices = st.builds(ModelPrice, rates, rates, rates, rates, rates, st.just("v"))


def known() -> Catalog:
    return Catalog.load(with_known([], {}))


def one(catalog: Catalog, wanted: str) -> Model:
    model, *_ = catalog.named(wanted, NOW_US)
    return model


@pytest.mark.parametrize(
    ("usage", "nanos"),
    [
        (Usage(), 0),
        (Usage(input_tokens=1), 150),
        (Usage(input_tokens=1_000_000), 150_000_000),
        (Usage(input_tokens=100, cache_read_tokens=100), 100 * 150 + 100 * 75),
        (Usage(output_tokens=1), 600),
        (Usage(output_tokens=1, reasoning_tokens=2), 1_800),
        (Usage(cache_read_tokens=1), 75),
    ],
)
def test_the_price_of_a_usage_is_what_openai_bills(usage: Usage, nanos: int) -> None:
    """gpt-4o-mini at 0.15, 0.075 cached and 0.60 USD per million tokens."""
    assert cost_usd_nanos(usage, one(known(), "openai/gpt-4o-mini").price) == nanos


def test_a_fraction_of_a_nano_is_rounded_up_once() -> None:
    """Three counts at a third of a nano each are one nano, and the smallest priced count is not free."""
    third = TokenRate(333_334)
    price = ModelPrice(third, third, third, third, third, "v")
    assert cost_usd_nanos(Usage(1, 1, 1), price) == 2  # 1.000002 nanos
    assert cost_usd_nanos(Usage(1), price) == 1


@given(usages, prices)
def test_tokens_above_zero_at_a_price_above_zero_cost_something(usage: Usage, price: ModelPrice) -> None:
    """And the bound of as many tokens is never below it, however they fall to the parts and steps."""
    cost = cost_usd_nanos(usage, price)
    if any(tokens and rate.at(usage.prompt_tokens) for tokens, rate in zip(usage.parts, price.rates, strict=True)):
        assert cost > 0
    assert bound_usd_nanos(usage.prompt_tokens, usage.completion_tokens, price) >= cost


def test_all_of_a_long_prompt_is_billed_at_its_step() -> None:
    """Crossing a threshold moves every token of the call, as providers bill it."""
    rate = TokenRate(5, ((272_000, 10),))
    assert [rate.at(tokens) for tokens in (1, 272_000, 272_001)] == [5, 5, 10]
    assert rate.most(272_000) == 5 and rate.most(272_001) == 10


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
def test_every_library_price_is_reproduced(provider: str) -> None:
    """Over every model that is listed: our integers equal the library's decimals, rounded up to a nano."""
    from genai_prices import Usage as LibraryUsage
    from genai_prices.data import providers

    entries = {model.id: model for entry in providers if entry.id == provider for model in entry.models}
    moment = datetime.fromtimestamp(NOW_US / 1_000_000, UTC)
    listed = known().models(provider, NOW_US)
    assert len(listed) > 50
    for model in listed:
        for usage in (Usage(1_000, 200, 0, 345, 0), Usage(300_000, 0, 0, 7, 0)):
            counted = LibraryUsage(
                input_tokens=usage.prompt_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                output_tokens=usage.completion_tokens,
            )
            if model.is_free:
                continue
            exact: Decimal = entries[model.name].get_prices(moment).calc_price(counted)["total_price"].scaleb(9)
            assert cost_usd_nanos(usage, model.price) == int(exact.to_integral_value(ROUND_CEILING)), model.id


def test_no_listed_model_is_free_but_by_the_word_of_its_list() -> None:
    """Every model names its price's source; those at zero are the ones that the provider itself calls free."""
    for provider in KNOWN:
        for model in known().models(provider, NOW_US):
            assert model.price.version.startswith("genai-prices/")
            assert model.is_free == model.name.endswith(":free")
            if model.is_free:
                assert (provider, model.price_source.partition(" ")[0]) == ("openrouter", "openrouter.ai")
                assert model.price.version.endswith(":free")
                assert model.capabilities is None  # called by name, never chosen


@pytest.mark.parametrize(
    "wanted", ["gpt-9-imaginary", "openai/gpt-9", "", "openai/", "mock/m1", "gpt-4o-search-preview", "sonar"]
)
def test_a_model_that_nobody_prices_is_not_in_the_catalog(wanted: str) -> None:
    assert known().named(wanted, NOW_US) == []


def test_a_name_is_an_id_an_upstreams_own_name_or_a_dated_snapshot() -> None:
    """`openai/gpt-4o` is OpenAI's and also what OpenRouter calls it."""
    catalog = known()
    assert [model.id for model in catalog.named("openai/gpt-4o", NOW_US)] == [
        "openai/gpt-4o",
        "openrouter/openai/gpt-4o",
    ]
    assert one(catalog, "gpt-4o-mini").id == "openai/gpt-4o-mini"
    dated = one(catalog, "openai/gpt-4o-mini-2024-07-18")
    assert (dated.name, dated.price) == ("gpt-4o-mini-2024-07-18", one(catalog, "openai/gpt-4o-mini").price)
    assert [model.id for model in catalog.named("anthropic/claude-opus-4.6", NOW_US)] == [
        "anthropic/claude-opus-4-6",
        "openrouter/anthropic/claude-opus-4.6",
    ]
    assert [model.id for model in catalog.named("x-ai/grok-4.5", NOW_US)] == [
        "openrouter/x-ai/grok-4.5",
        "xai/grok-4.5",
    ]
    assert all(model.answers_to("gpt-4o") for model in catalog.named("gpt-4o", NOW_US))
    assert one(catalog, "offline/extract") == one(catalog, "extract") == OFFLINE


def test_the_operators_price_goes_over_the_librarys() -> None:
    """A model stated in the settings replaces the library's of the same name, and its version says so."""
    mine = UpstreamModel("gpt-4o-mini", input_nanos_per_mtok=1_000, output_nanos_per_mtok=2_000)
    catalog = Catalog.load([Upstream("openai", "http://127.0.0.1:1/v1", models=(mine,), price_list="openai")])
    model = one(catalog, "openai/gpt-4o-mini")
    assert (model.price.input.base, model.price_source) == (1_000, "the operator's settings")
    assert model.price.version == "settings/1000:2000:-:-"
    assert [found.price for found in catalog.models("openai", NOW_US) if found.name == "gpt-4o-mini"] == [model.price]


def test_a_price_that_begins_later_counts_from_its_day() -> None:
    """The library's dated prices are taken at the moment of the call, not of the start."""
    july, september = 1_783_600_000_000_000, 1_789_000_000_000_000
    before, after = (known().named("openai/gpt-5.6-luna", when)[0] for when in (july, september))
    assert (before.price.input.base, after.price.input.base) == (1_000_000_000, 200_000_000)
    assert after.price_date is not None and after.price.version.endswith(f"@{after.price_date}")
    assert before.price.version != after.price.version
