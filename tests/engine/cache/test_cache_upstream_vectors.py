"""Questions embedded by an upstream: at the node's expense, held and booked call by call, and never anybody's error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentnode.app import build
from agentnode.settings import load
from engine import (
    Cache,
    Call,
    Catalog,
    Embedder,
    Engine,
    Options,
    Providers,
    Upstream,
    UpstreamVectors,
    embeddings_from_table,
)
from engine.cache.vectors import Offline
from engine.errors import RateLimitExceeded
from engine.guard import Bound, Guard, Verdicts
from engine.guard.anomaly import MIN_SAMPLES
from engine.providers import OpenAICompatible
from ledger.accounts import DEFAULT_LIMITS, Account, Names, Policy
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.events import EconomicEvent, Events
from ledger.money import MAX_USD_NANOS, NANOS_PER_USD
from ledger.spend import NewBudget, Spend, count, share, whole
from ledger.vault import Vault
from tests.engine.cache.cache_world import EMBEDDER, answer, question
from tests.engine.world import MODEL, ask
from tests.ledger.parts import MemoryKey
from tests.upstream import FakeUpstream

ONE, OTHER, SPAIN = "What is the capital of France?", "what's the capital of france", "What is the capital of Spain?"
DAY_USD_NANOS = 1_000_000


def table(upstream: FakeUpstream, **changed: Any) -> dict[str, Any]:
    stated = {"name": "vectors", "base_url": upstream.api, "model": "e1", "usd_per_mtok": 0.02, "similarity": 0.5}
    return {**stated, **changed}


class Node:
    """A cache whose vectors an upstream makes; `day` is what the node may spend."""

    def __init__(self, database: Database, spend: Spend, key: MemoryKey, **stated: Any) -> None:
        self.database, self.spend, self.key, self.stated = database, spend, key, stated
        self.clock = SystemClock()
        self.account = Account(
            *("node", None, None, Policy(DEFAULT_LIMITS, billing="open")),
            *((whole("day"),), (share("open:node"),), ()),
        )

        async def payer() -> Account:
            return self.account

        self.vectors = UpstreamVectors(embeddings_from_table(stated), {}, spend, self.clock, payer)
        self.cache = self.with_vectors(self.vectors)

    def with_vectors(self, vectors: UpstreamVectors | Offline) -> Cache:
        return Cache(self.database, self.clock, Vault(self.database, self.clock, self.key), self.key, EMBEDDER, vectors)

    def stating(self, **changed: Any) -> Node:
        return Node(self.database, self.spend, self.key, **{**self.stated, **changed})

    async def keep(self, words: str, text: str = "Paris.") -> bool:
        how: dict[str, Any] = {"provider": "mock", "model": "mock/m1", "cost_usd_nanos": 1_000, "ttl_s": None}
        return await self.cache.keep(question(words), answer(text), **how)

    async def text(self, words: str) -> str | None:
        hit = await self.cache.find(question(words))
        return None if hit is None else hit.body["choices"][0]["message"]["content"]

    async def events(self) -> Sequence[EconomicEvent]:
        return (await Events(self.database).list("node")).events

    async def spent_and_held(self) -> tuple[int, int]:
        day = await self.spend.budget("day")
        assert day is not None
        return day.spent_usd_nanos, day.held_usd_nanos


@pytest.fixture
async def node(database: Database, upstream: FakeUpstream) -> AsyncIterator[Node]:
    spend = Spend(database, SystemClock(), "test")
    await spend.start()
    await spend.open_budget(NewBudget("day", "node", "day", DAY_USD_NANOS))
    await spend.open_budget(NewBudget("open:node", "node", "open", MAX_USD_NANOS))
    node = Node(database, spend, MemoryKey(), **table(upstream))
    yield node
    await node.cache.close()
    await spend.close()


@pytest.mark.database
async def test_every_call_is_booked_once_at_the_nodes_expense(node: Node, upstream: FakeUpstream) -> None:
    """At 0.02 USD a million tokens, once for keeping and once for finding; nothing stays held, no word is booked."""
    await node.keep(ONE)
    hit = await node.cache.find(question(OTHER))
    assert hit is not None and hit.similarity is not None and 0.8 < hit.similarity < 0.9
    events = await node.events()
    assert len(events) == len(upstream.calls()["embedded"]) == 2
    for event in events:
        assert (event.kind, event.provider, event.model) == ("engine_call", "vectors", "vectors/e1")
        assert (event.decision, event.evidence_status, event.estimated) == ("allowed", "present", False)
        assert (event.output_tokens, event.price_version) == (0, "settings/20000000")
        assert event.trace["purpose"] == "cache_embedding"
        assert "france" not in repr(event.model_dump()).lower()
    assert [event.cost_usd_nanos for event in events] == [event.input_tokens * 20 for event in events]
    assert events[0].input_tokens > 0
    assert await node.spent_and_held() == (sum(event.cost_usd_nanos for event in events), 0)


async def test_nothing_is_bought_that_is_not_needed(node: Node, upstream: FakeUpstream) -> None:
    """None where there is nothing to compare with, or the very same was asked; one for a request's find and keep."""
    assert await node.text(ONE) is None
    assert upstream.calls()["embedded"] == []
    await node.keep(ONE)
    assert await node.text(ONE) == "Paris."
    assert len(upstream.calls()["embedded"]) == 1
    asked = question(SPAIN)
    assert await node.cache.find(asked) is None
    await node.cache.keep(asked, answer(), provider="mock", model="mock/m1", cost_usd_nanos=1, ttl_s=None)
    assert len(upstream.calls()["embedded"]) == 2


async def test_near_is_not_enough_here_either(node: Node) -> None:
    """What differs in a name does not agree, however near the operator's similarity lets it be."""
    await node.keep(ONE)
    assert await node.text(SPAIN) is None
    assert await node.text("Is Paris the capital of France?") is None
    assert await node.stating(similarity=1).text(OTHER) is None


async def test_without_room_nothing_leaves(node: Node, upstream: FakeUpstream) -> None:
    """A miss for what is worded otherwise; the very same is kept and answered all the same."""
    await node.spend.reserve(tenant_id="node", budgets=["day"], amount_usd_nanos=DAY_USD_NANOS - 100)
    assert await node.keep(ONE)
    assert (await node.text(OTHER), await node.text(ONE)) == (None, "Paris.")
    assert upstream.calls()["embedded"] == []
    assert await node.events() == []


FAULTS: list[tuple[dict[str, Any], str, bool]] = [
    ({"status": 500}, "upstream_failed", True),
    ({"status": 429}, "upstream_refused", False),
    ({"status": 400}, "upstream_refused", False),
    ({"raw": "no JSON"}, "upstream_failed", True),
    ({"raw": '{"data": []}'}, "upstream_failed", True),
    ({"raw": '{"data": [{"embedding": [true, 1.0]}]}'}, "upstream_failed", True),
    ({"raw": '{"data": [{"embedding": [0.0, 0.0]}]}'}, "upstream_failed", True),
    ({"raw": '{"data": [{"embedding": [1e400, 1.0]}]}'}, "upstream_failed", True),
    ({"raw": '{"data": [{"embedding": "AACAPw=="}]}'}, "upstream_failed", True),
    ({"gate_after": 0}, "upstream_failed", True),
]


async def test_a_failing_upstream_is_a_miss_and_is_booked(node: Node, upstream: FakeUpstream) -> None:
    """Refused calls cost nothing, others the estimate; a mute one is given up; the exact half goes on."""
    await node.keep(ONE)
    for made, (fault, decision, is_charged) in enumerate(FAULTS, 2):
        broken = node.stating(timeout_s=0.2)
        upstream.behave(embeddings=fault)
        assert await broken.text(OTHER) is None, fault
        assert await broken.text(ONE) == "Paris.", fault
        events = await node.events()
        assert (events[0].decision, events[0].cost_usd_nanos > 0) == (decision, is_charged), fault
        assert len(events) == len(upstream.calls()["embedded"]) == made, fault
        assert (await node.spent_and_held())[1] == 0, fault
        await broken.cache.close()


async def test_an_upstream_that_fails_and_fails_is_left_alone(node: Node, upstream: FakeUpstream) -> None:
    """So that nobody waits for it in vain, time and again; nothing is booked for calls that were not made."""
    await node.keep(ONE)
    upstream.behave(embeddings={"status": 500})
    for number in range(20):
        assert await node.text(f"{OTHER} {number}") is None
    made = len(upstream.calls()["embedded"])
    assert made < 20
    assert len(await node.events()) == made


async def test_what_questions_cost_does_not_make_the_nodes_own_requests_unusual(node: Node) -> None:
    """A vector costs next to nothing: what the guard takes for usual is learned from requests alone."""
    for number in range(MIN_SAMPLES + 5):
        await node.keep(f"{ONE} {number}")
    verdicts = Verdicts()
    dear = Bound(100_000, 100_000, 100_000, NANOS_PER_USD, NANOS_PER_USD)
    await Guard(node.spend, Events(node.database), node.clock).admit(node.account, dear, verdicts)
    assert "flagged" not in verdicts.said.values()


async def test_an_unbelievable_count_is_not_taken(node: Node, upstream: FakeUpstream) -> None:
    """The estimate is booked instead, and said to be one; so where none is stated."""
    for usage in ({"prompt_tokens": 10**6, "total_tokens": 10**6}, "none"):
        upstream.behave(embeddings={"usage": usage})
        await node.keep(f"{ONE} {len(str(usage))}")
    events = await node.events()
    assert [(event.estimated, event.evidence_status) for event in events] == [(True, "missing")] * 2
    assert all(0 < event.input_tokens < 20 for event in events)
    upstream.behave(embeddings={"usage": {"total_tokens": 7}})
    await node.keep(SPAIN)
    assert ((await node.events())[0].input_tokens, (await node.events())[0].estimated) == (7, False)


@pytest.mark.database
async def test_vectors_of_two_models_never_meet(node: Node) -> None:
    """Another model, other dimensions, or the offline one: only the very same question is found."""
    await node.keep(ONE)
    others = [node.stating(model="e2"), node.stating(dimensions=64), node.stating(name="elsewhere")]
    for other in others:
        assert (await other.text(OTHER), await other.text(ONE)) == (None, "Paris.")
        await other.cache.close()
    offline = node.with_vectors(Offline(EMBEDDER))
    assert await offline.find(question(OTHER)) is None
    assert await offline.find(question(ONE)) is not None
    assert await node.text(OTHER) == "Paris."


async def test_a_model_that_changes_its_dimensions_is_only_compared_with_itself(
    node: Node, upstream: FakeUpstream
) -> None:
    """Whatever was kept before is found by its exact words."""
    await node.keep(ONE)
    upstream.behave(embeddings={"raw": '{"data": [{"embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 5}}'})
    assert await node.text(OTHER) is None
    await node.keep(SPAIN, "Madrid.")
    assert await node.text(SPAIN + "?") == "Madrid."
    assert await node.text(ONE) == "Paris."


async def test_the_operators_similarity_takes_the_default_ones_place(node: Node) -> None:
    """A tenant can only be stricter."""
    assert (await node.cache.settings("acme")).similarity == 0.5
    assert (await node.cache.configure("acme", {"ttl_s": 60})).similarity == 0.5
    with pytest.raises(InvalidInput):
        await node.cache.configure("acme", {"similarity": 0.4})
    assert (await node.cache.configure("acme", {"similarity": 0.6})).similarity == 0.6
    assert (await node.stating(similarity=0.7).cache.settings("acme")).similarity == 0.7


@pytest.mark.parametrize(
    ("policy", "options", "is_shown"),
    [
        ({}, {}, True),
        ({"vendors": Names(allow=frozenset({"mock", "Vectors"}))}, {}, True),
        ({"vendors": Names(allow=frozenset({"mock"}))}, {}, False),
        ({"vendors": Names(deny=frozenset({"vectors"}))}, {}, False),
        ({}, {"exclude_providers": frozenset({"vectors"})}, False),
    ],
)
async def test_no_question_is_shown_to_a_vendor_that_its_asker_keeps_out(
    node: Node, upstream: FakeUpstream, policy: dict[str, Any], options: dict[str, Any], is_shown: bool
) -> None:
    """Policy and request say who may see it; the very same question is answered from the cache even so."""
    mock = Upstream("mock", upstream.api, models=(MODEL,))
    await node.spend.open_budget(NewBudget("open:acme", "acme", "open", MAX_USD_NANOS))
    account = Account("acme", "key_1", None, Policy(DEFAULT_LIMITS, **policy), (), (share("open:acme"),), ())
    engine = Engine(
        *(node.spend, Events(node.database), Vault(node.database, node.clock, node.key), Catalog.load([mock])),
        *(Providers([OpenAICompatible(mock, None)]), node.clock),
        cache=node.cache,
    )
    cached = []
    for number in range(2):
        done = await engine.complete(ask(ONE), account, Call(f"req_{number}"), Options(cache=True, **options))
        cached.append(done.cached)
    await engine.close()
    assert cached == [False, True]
    assert bool(upstream.calls()["embedded"]) is is_shown


async def test_who_is_at_the_hours_limit_has_no_question_embedded(node: Node, upstream: FakeUpstream) -> None:
    """The node pays for it, and a flood of refused requests is not to cost it anything."""
    mock = Upstream("mock", upstream.api, models=(MODEL,))
    for name, limit in (("open:acme", MAX_USD_NANOS), ("rate:acme", 1)):
        await node.spend.open_budget(NewBudget(name, "acme", name.partition(":")[0], limit))
    takes = (count("rate:acme"),)
    account = Account("acme", "key_1", None, Policy(DEFAULT_LIMITS), takes, (share("open:acme"),), ())
    engine = Engine(
        *(node.spend, Events(node.database), Vault(node.database, node.clock, node.key), Catalog.load([mock])),
        *(Providers([OpenAICompatible(mock, None)]), node.clock),
        cache=node.cache,
    )
    await engine.complete(ask(ONE), account, Call("req_1"), Options(cache=True))
    bought = len(upstream.calls()["embedded"])
    for words in (ONE, OTHER):
        with pytest.raises(RateLimitExceeded):
            await engine.complete(ask(words), account, Call("req_2"), Options(cache=True))
    await engine.close()
    assert len(upstream.calls()["embedded"]) == bought == 1


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"model": None}, "model"),
        ({"usd_per_mtok": None}, "usd_per_mtok"),
        ({"usd_per_mtok": -1}, "usd_per_mtok"),
        ({"similarity": None}, "similarity"),
        ({"similarity": 0}, "similarity"),
        ({"similarity": 1.5}, "similarity"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 10**6}, "dimensions"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"base_url": None}, "base_url"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"name": "anthropic"}, "name"),
        ({"models": []}, "models"),
        ({"threshold": 1}, "threshold"),
    ],
)
def test_a_wrong_table_is_refused_by_name(upstream: FakeUpstream, changed: dict[str, Any], param: str) -> None:
    """A field that is None here is left out there."""
    stated = {name: value for name, value in table(upstream, **changed).items() if value is not None}
    with pytest.raises(InvalidInput) as refusal:
        embeddings_from_table(stated)
    assert refusal.value.param == f"cache_embeddings.{param}"


async def test_a_node_without_the_key_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known name brings address and variable along; embeddings that were asked for are not silently others."""
    stated = {"name": "openai", "model": "text-embedding-3-small", "usd_per_mtok": 0.02, "similarity": 0.6}
    terms = embeddings_from_table(stated)
    assert (terms.upstream.base_url, terms.upstream.api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InvalidInput, match="OPENAI_API_KEY"):
        await build(load({}, data=tmp_path, chain="none", cache_embeddings=stated))


def test_one_embedder_serves_all() -> None:
    """What it loads is loaded once: the offline provider and the cache have the same one."""
    embedder = Embedder()
    offline = Providers.from_environment({}, (), embedder).get("offline")
    assert offline is not None and vars(offline)["_embedder"] is embedder
