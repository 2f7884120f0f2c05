"""Who can be called here serves: with a key the real ones, without any the offline provider."""

from __future__ import annotations

import pytest

from engine import Call, Catalog, Engine, ModelUnavailable, ModelUnknown, Providers
from engine.errors import NoModelServes
from engine.guard.bounds import DEFAULT_MAX_TOKENS
from engine.providers import with_known
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import Events
from ledger.money import MAX_USD_NANOS, NANOS_PER_USD
from ledger.spend import NewBudget, Spend
from ledger.vault import Vault
from tests.engine.world import account, ask
from tests.ledger.parts import MemoryKey
from tests.upstream import FakeUpstream

REQUEST = ask("a question", model="auto")


def engine_on(database: Database, spend: Spend, environ: dict[str, str]) -> Engine:
    upstreams = with_known([], environ)
    clock = SystemClock()
    providers = Providers.from_environment(environ, upstreams)
    vault = Vault(database, clock, MemoryKey())
    return Engine(spend, Events(database), vault, Catalog.load(upstreams), providers, clock)


async def engine_with(database: Database, environ: dict[str, str]) -> Engine:
    return engine_on(database, Spend(database, SystemClock(), "test"), environ)


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
    assert quote.candidates[-1].model.id == "offline/extract"


async def test_a_model_without_a_key_is_refused_by_the_name_of_the_key(database: Database) -> None:
    engine = await engine_with(database, {})
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
        await engine.quote(ask("q", model="openai/gpt-4o"))
    with pytest.raises(ModelUnknown, match="gpt-9"):
        await engine.quote(ask("q", model="gpt-9"))
    with pytest.raises(NoModelServes, match="function_calling"):
        await engine.quote(ask("q", model="offline/extract", tools=[{"type": "function"}]))


async def test_a_base_url_in_the_environment_moves_a_known_upstream() -> None:
    """As OpenAI's own SDK reads it."""
    openai, *_ = with_known([], {"OPENAI_BASE_URL": "http://127.0.0.1:9000/v1/"})
    assert openai.base_url == "http://127.0.0.1:9000/v1"


async def test_a_stand_in_at_openais_address_is_used_as_openai(database: Database, upstream: FakeUpstream) -> None:
    """With a key and a base URL in the environment, the model is real to us: chosen, priced, asked as OpenAI is."""
    environ = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": upstream.api}
    spend = Spend(database, SystemClock(), "test")
    await spend.start()
    await spend.open_budget(NewBudget("budget", "tenant", "session", NANOS_PER_USD))
    await spend.open_budget(NewBudget("open:tenant", "tenant", "open", MAX_USD_NANOS))
    engine = engine_on(database, spend, environ)
    asked = ask("a question", model="openai/gpt-4.1-nano")
    done = await engine.complete(asked, account("budget"), Call("req_1"))
    assert (done.model, done.text) == ("openai/gpt-4.1-nano", "You said: a question")
    assert done.cost_usd_nanos == done.usage.input_tokens * 100 + done.usage.output_tokens * 400
    [model] = [each for each in engine.models() if each.id == done.model]
    limit = model.max_output or DEFAULT_MAX_TOKENS
    assert done.max_tokens == limit
    [body] = upstream.calls()["bodies"]
    assert body == {"model": "gpt-4.1-nano", "messages": REQUEST.messages, "max_completion_tokens": limit}
    await engine.close()
    await spend.close()
