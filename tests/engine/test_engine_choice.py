"""Who serves a request is decided by one pure function, among those that can be called here."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import (
    OFFLINE,
    Account,
    Call,
    Catalog,
    CompletionRequest,
    Engine,
    Model,
    ModelUnavailable,
    ModelUnknown,
    Providers,
)
from engine.catalog import Price, Rate, cost_usd_nanos
from engine.guard import bound
from engine.providers import with_known
from engine.routing import Candidate, choose
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.money import NANOS_PER_USD
from ledger.spend import NewBudget, Spend
from tests.engine.world import ask
from tests.upstream import FakeUpstream

REQUEST = ask("a question", model="auto")


def model(name: str, nanos: int, quality: float | None, capabilities: set[str] | None = None) -> Model:
    rate = Rate(nanos)
    price = Price(rate, rate, rate, rate, rate, "v")
    able = None if capabilities is None else frozenset(capabilities)
    return Model("mock", name, price, "a test", quality=quality, capabilities=able)


def ranked(models: list[Model], request: CompletionRequest = REQUEST) -> list[str]:
    return [found.model.name for found in choose([Candidate(each, bound(request, each)) for each in models], request)]


CHAT = {"chat"}
models = st.lists(
    st.builds(model, st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10**9), st.floats(0, 1), st.just(CHAT)),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each.name,
)


@given(models, st.randoms())
def test_the_order_of_candidates_does_not_matter(given_models: list[Model], shuffler: random.Random) -> None:
    shuffled = list(given_models)
    shuffler.shuffle(shuffled)
    assert ranked(shuffled) == ranked(given_models)


@given(models)
def test_a_cheaper_and_better_model_never_ranks_lower(given_models: list[Model]) -> None:
    first, *_ = given_models
    better = dataclasses.replace(first, name="aaaa", quality=min(1.0, (first.quality or 0) + 0.1))
    order = ranked([*given_models, better])
    assert order.index("aaaa") < order.index(first.name) or better.quality == first.quality == 1


@given(models)
def test_a_model_of_no_use_never_changes_the_winner(given_models: list[Model]) -> None:
    """One that is dearer and worse than all the others is last."""
    useless = model("zzzz", 10**10, 0.0, CHAT)
    assert ranked([*given_models, useless])[0] == ranked(given_models)[0]
    assert ranked([*given_models, useless])[-1] == "zzzz"


def test_price_decides_among_models_of_use_and_offline_comes_last() -> None:
    order = ranked([model("dear", 900, 0.9, CHAT), model("cheap", 100, 0.5, CHAT), OFFLINE])
    assert order == ["cheap", "dear", "extract"]


def test_a_model_of_which_nothing_is_stated_is_called_by_name_only() -> None:
    unknown = model("unknown", 1, None)
    assert ranked([unknown, OFFLINE]) == ["extract"]
    assert ranked([unknown, OFFLINE], ask("q", model="unknown")) == ["unknown"]


def test_a_model_that_cannot_is_not_a_candidate() -> None:
    """Tools, JSON and images ask for models that state them; a prompt beyond the window for none."""
    able = model("able", 100, 0.5, {"chat", "function_calling", "json", "vision"})
    plain = model("plain", 1, 0.5, CHAT)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]
    for request in (
        ask("q", model="auto", tools=[{"type": "function", "function": {"name": "f"}}]),
        ask("q", model="auto", response_format={"type": "json_object"}),
        CompletionRequest(image),
    ):
        assert ranked([able, plain], request) == ["able"]
    small = dataclasses.replace(able, context_window=10)
    assert ranked([small], ask("word " * 100, model="auto")) == []


async def engine_with(database: Database, environ: dict[str, str]) -> Engine:
    upstreams = with_known([], environ)
    spend = Spend(database, SystemClock(), "test")
    return Engine(spend, Catalog.load(upstreams), Providers.from_environment(environ, upstreams), SystemClock())


async def test_without_a_key_the_offline_provider_answers(database: Database) -> None:
    engine = await engine_with(database, {})
    assert (await engine.quote(REQUEST)).model == "offline/extract"
    assert [each.id for each in engine.models()] == ["offline/extract"]


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "OPENROUTER_API_KEY"])
async def test_with_a_key_a_real_model_is_preferred(database: Database, key: str) -> None:
    """And the offline one stays a candidate, the last."""
    quote = await (await engine_with(database, {key: "sk-test"})).quote(REQUEST)
    assert quote.provider == key.split("_")[0].lower()
    assert quote.candidates[0].model.price_source.startswith("genai-prices/")
    assert quote.candidates[-1].model == OFFLINE


async def test_a_model_without_a_key_is_refused_by_the_name_of_the_key(database: Database) -> None:
    engine = await engine_with(database, {})
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY or OPENROUTER_API_KEY"):
        await engine.quote(ask("q", model="openai/gpt-4o"))
    with pytest.raises(ModelUnknown, match="gpt-9"):
        await engine.quote(ask("q", model="gpt-9"))
    with pytest.raises(InvalidInput, match="function_calling"):
        await engine.quote(ask("q", model="offline/extract", tools=[{"type": "function"}]))


async def test_a_base_url_in_the_environment_moves_a_known_upstream() -> None:
    """As OpenAI's own SDK reads it."""
    openai, *_ = with_known([], {"OPENAI_BASE_URL": "http://127.0.0.1:9000/v1/"})
    assert openai.base_url == "http://127.0.0.1:9000/v1"


async def test_a_stand_in_at_openais_address_is_used_as_openai(database: Database, upstream: FakeUpstream) -> None:
    """With a key and a base URL in the environment, the model is real to us: chosen, priced, asked as OpenAI is."""
    environ = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": upstream.api}
    upstreams = with_known([], environ)
    spend = Spend(database, SystemClock(), "test")
    await spend.start()
    await spend.open_budget(NewBudget("budget", "tenant", "session", NANOS_PER_USD))
    engine = Engine(spend, Catalog.load(upstreams), Providers.from_environment(environ, upstreams), SystemClock())
    done = await engine.complete(REQUEST, Account("tenant", ("budget",)), Call("req_1"))
    [model] = [each for each in engine.models() if each.id == done.model]
    assert (done.provider, done.text) == ("openai", "You said: a question")
    assert done.cost_usd_nanos == cost_usd_nanos(done.usage, model.price) > 0
    [body] = upstream.calls()["bodies"]
    assert body == {"model": model.name, "messages": REQUEST.messages, "max_completion_tokens": 1_024}
    await engine.close()
    await spend.close()
