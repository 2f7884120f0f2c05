"""The cache before the engine: an answer is given again only to who could have got it from the same models."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from engine import Cache, Call, Catalog, Engine, Options, Providers
from engine.errors import ModelNotAllowed, NoModelServes
from engine.providers import Embedder, OfflineProvider
from ledger.accounts import DEFAULT_LIMITS, Names, Policy
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import Events
from ledger.money import MAX_USD_NANOS
from ledger.spend import NewBudget, Spend
from ledger.vault import Vault
from tests.engine.world import account, ask
from tests.ledger.parts import MemoryKey

CACHED = Options(cache=True)
ASKED = ask("Paris is the capital of France. Berlin is the capital of Germany.", model="offline/extract")


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    clock, key, embedder = SystemClock(), MemoryKey(), Embedder()
    spend, vault = Spend(database, clock, "test"), Vault(database, clock, key)
    await spend.start()
    await spend.open_budget(NewBudget("open:tenant", "tenant", "open", MAX_USD_NANOS))
    cache = Cache(database, clock, vault, key, embedder)
    providers = Providers([OfflineProvider(embedder)])
    yield Engine(spend, Events(database), vault, Catalog.load(), providers, clock, cache=cache)
    await spend.close()


async def test_a_kept_answer_is_given_again_for_nothing(engine: Engine) -> None:
    first = await engine.complete(ASKED, account(), Call("req_1"), CACHED)
    again = await engine.complete(ASKED, account(), Call("req_2"), CACHED)
    assert (first.cached, again.cached, again.cost_usd_nanos, again.text) == (False, True, 0, first.text)


@pytest.mark.parametrize(
    "policy", [{"models": Names(deny=frozenset({"extract"}))}, {"vendors": Names(frozenset({"x"}))}]
)
async def test_a_model_that_the_policy_keeps_out_answers_from_the_cache_neither(
    engine: Engine, policy: dict[str, Names]
) -> None:
    """Another key's answer, or one of before the model was denied, though it is named."""
    await engine.complete(ASKED, account(), Call("req_1"), CACHED)
    denied = account(policy=Policy(DEFAULT_LIMITS, billing="open", **policy))
    with pytest.raises(ModelNotAllowed):
        await engine.complete(ASKED, denied, Call("req_2"), CACHED)


async def test_an_excluded_provider_answers_from_the_cache_neither(engine: Engine) -> None:
    await engine.complete(ASKED, account(), Call("req_1"), CACHED)
    elsewhere = dataclasses.replace(CACHED, exclude_providers=frozenset({"offline"}))
    with pytest.raises(NoModelServes):
        await engine.complete(ASKED, account(), Call("req_2"), elsewhere)
