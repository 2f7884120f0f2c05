"""The catalog says what it knows of a model, and who says so."""

from __future__ import annotations

import json
import os
import re
import statistics
from importlib.metadata import version
from pathlib import Path

import pytest

from engine import OFFLINE, Catalog, Model, Upstream, UpstreamModel, with_known
from engine.catalog import TIERS, ModelPrice, TokenRate
from engine.catalog.facts import read_facts
from engine.catalog.names import model_of
from engine.catalog.price_lists import PUBLISHED
from engine.catalog.quality import TIER_QUALITY, read_figures
from engine.catalog.tiers import tier_of
from engine.providers import KNOWN
from ledger.errors import InvalidInput

NOW_US = 1_795_478_400_000_000  # 2026-11-24
MINUTE_US = 60_000_000
CAPABILITIES = {"chat", "code", "vision", "reasoning", "function_calling", "json"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def known() -> Catalog:
    return Catalog.load(with_known([], {}))


def every() -> list[Model]:
    catalog = known()
    return [model for name in KNOWN for model in catalog.models(name, NOW_US)]


def test_there_are_more_than_three_hundred_priced_chat_models() -> None:
    """Each with tier, quality and price, their sources and the day; what is chosen has capabilities."""
    models = every()
    chat = [model for model in models if model.capabilities]
    assert len(chat) > 400
    assert len({model.id for model in models}) == len(models)
    for model in models:
        assert model.tier in TIERS
        assert model.quality is not None and 0 < model.quality < 1 and model.quality_source
        assert model.price_source
        assert model.price_date is not None and _DAY.fullmatch(model.price_date)
        assert model.seed_first_token_ms > 0 and model.seed_tokens_per_s > 0
        assert model.capabilities is None or {"chat"} <= model.capabilities <= CAPABILITIES
        assert model.max_output is None or model.max_output > 0


def test_the_locked_price_list_has_its_day() -> None:
    """A new release of the library needs its date in PUBLISHED, or prices would have none."""
    assert version("genai-prices") in PUBLISHED


@pytest.mark.parametrize(
    ("input_usd", "output_usd", "tier"),
    [
        ("0.15", "0.60", "budget"),
        ("1", "0.99", "budget"),
        ("1", "1", "mid"),
        ("1", "5", "mid"),
        ("2", "8", "premium"),
        ("3", "3", "premium"),
    ],
)
def test_a_tier_is_a_matter_of_price(input_usd: str, output_usd: str, tier: str) -> None:
    """Three prompt tokens and one of the answer: below 1 USD a million, below 3, and the others."""
    fresh, output = (TokenRate(int(float(usd) * 10**9)) for usd in (input_usd, output_usd))
    assert tier_of(ModelPrice(fresh, fresh, fresh, output, output, "v")) == tier


def test_each_quality_has_its_citation_and_the_others_their_tiers_median() -> None:
    """The medians are those of the table at the day it was made, none below a cheaper tier's."""
    table = json.loads((Path(__file__).parents[3] / "engine/catalog/quality.json").read_text())
    for _, source, date in table["models"].values():
        assert table["sources"][source]["url"].startswith("https://")
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", date)
    figures = read_figures()
    cited: dict[str, Model] = {}
    for model in sorted(every(), key=lambda model: model.provider == "openrouter"):
        if model_of(model.name) in figures:
            assert model.quality_source == figures[model_of(model.name)].source
            if model.capabilities:
                cited.setdefault(model_of(model.name), model)
        else:
            assert model.tier is not None
            assert (model.quality, model.quality_source) == (
                TIER_QUALITY[model.tier],
                f"median of the tier {model.tier}",
            )
    assert len(cited) > 30
    least = 0.0
    for tier in ("budget", "mid", "premium"):
        least = max(least, statistics.median(m.quality for m in cited.values() if m.tier == tier and m.quality))
        assert TIER_QUALITY[tier] == pytest.approx(least, abs=0.01)


def test_a_model_that_its_maker_has_ended_is_called_by_name_only() -> None:
    """From the day that the table of facts says, it has no capabilities, and so is not chosen."""
    ends = {name: facts.last_day for name, facts in read_facts().items() if facts.last_day and "anthropic/" in name}
    name, day = next((name, day) for name, day in ends.items() if name.startswith("anthropic/"))
    assert (name, day) == ("anthropic/claude-sonnet-4-5", "2026-11-30")
    before, after = (known().named(name, NOW_US + days * 86_400_000_000)[0] for days in (5, 6))
    assert before.capabilities and after.capabilities is None
    assert before.price == after.price


def test_a_model_is_called_as_its_upstream_calls_it() -> None:
    """Where the price list has another name, the facts say the right one; both names find it."""
    by_list, by_api = (known().named(name, NOW_US)[0] for name in ("mistral/mistral-large", "mistral-large-latest"))
    assert by_list == by_api and by_list.name == "mistral-large-latest"


def test_a_list_is_made_once_a_minute_and_a_model_once_a_price() -> None:
    """The hot path asks for nothing but what it already has."""
    catalog = known()
    first = catalog.models("openai", NOW_US)
    assert catalog.models("openai", NOW_US + 1) is first
    assert catalog.named("gpt-4o", NOW_US) is catalog.named("gpt-4o", NOW_US + 1)
    later = catalog.models("openai", NOW_US + MINUTE_US)
    assert later is not first and all(one is other for one, other in zip(first, later, strict=True))


def test_the_operators_word_goes_over_the_lists_and_leaves_what_it_does_not_say() -> None:
    """A stated price keeps the list's window and output limit; a stated tier and quality stand."""
    mine = UpstreamModel("gpt-4o-mini", 1_000, 2_000, tier="premium", quality=0.9)
    catalog = Catalog.load([Upstream("openai", "http://127.0.0.1:1/v1", models=(mine,), price_list="openai")])
    [model] = [model for model in catalog.models("openai", NOW_US) if model.name == "gpt-4o-mini"]
    listed = known().named("openai/gpt-4o-mini", NOW_US)[0]
    assert (model.tier, model.quality, model.price.input.base) == ("premium", 0.9, 1_000)
    assert (model.context_window, model.max_output) == (listed.context_window, listed.max_output)
    assert catalog.named("gpt-4o-mini", NOW_US) == [model]


def test_a_local_prices_file_takes_the_librarys_place(tmp_path: Path) -> None:
    """A data.json of genai-prices: its prices, its day, and a version that changes with its content."""
    file = tmp_path / "data.json"

    def written(price: float) -> Model:
        provider = {"id": "openai", "name": "OpenAI", "api_pattern": "x", "models": []}
        model = {"id": "gpt-new", "match": {"equals": "gpt-new"}, "prices": {"input_mtok": price, "output_mtok": 3}}
        file.write_text(json.dumps([provider | {"models": [model]}]))
        os.utime(file, (1_795_000_000, 1_795_000_000))
        catalog = Catalog.load(with_known([], {}), file)
        assert [model.id for model in catalog.models("openai", NOW_US)] == ["openai/gpt-new"]
        return catalog.named("gpt-new", NOW_US)[0]

    cheap, dear = written(0.1), written(2)
    assert (cheap.price.input.base, dear.price.input.base) == (100_000_000, 2_000_000_000)
    assert cheap.price_date == "2026-11-18" and cheap.price_source.startswith("data.json/")
    assert cheap.price.version != dear.price.version


@pytest.mark.parametrize("content", [None, "", "[]]", '{"a": 1}', '[{"id": "openai"}]'])
def test_a_prices_file_of_no_use_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    """Never a silent return to other prices."""
    file = tmp_path / "data.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput) as refused:
        Catalog.load(with_known([], {}), file).models("openai", NOW_US)
    assert refused.value.param == "prices_file"


def test_the_offline_model_is_what_it_says() -> None:
    assert known().models("offline", NOW_US) == [OFFLINE]
    assert OFFLINE.quality == TIER_QUALITY["offline"] and not OFFLINE.is_free


def test_names_that_strangers_make_up_are_not_remembered() -> None:
    """Anybody may ask for a model by any name; of those that are none, and of endless ones, nothing is kept."""
    catalog, endless = known(), f"gpt-4o-{'x' * 200}-2024-08-06"
    assert catalog.named("gpt-4o", NOW_US) is catalog.named("gpt-4o", NOW_US)
    for name in ("no-such-model", endless):
        assert catalog.named(name, NOW_US) == []
        assert catalog.named(name, NOW_US) is not catalog.named(name, NOW_US)
