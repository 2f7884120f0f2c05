"""The guard's own judgements: what is far too dear, how long an answer a sum affords, and which layer speaks first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Call, Catalog, Engine, Providers
from engine.errors import (
    CostAnomalous,
    DailyLimitExceeded,
    FundsInsufficient,
    OwnerBudgetExceeded,
    RateLimitExceeded,
    RequestTooExpensive,
    SessionBudgetExceeded,
    TooManyConcurrent,
)
from engine.guard import Guard, Verdicts, afforded, bound, within
from engine.guard.anomaly import MIN_SAMPLES, Costs, is_anomalous
from engine.guard.bounds import FAIR_TOKENS, LEAST_TOKENS
from engine.guard.guard import MOST_BOOKED
from engine.guard.layers import LAYERS, error_of
from engine.providers import Embedder, OfflineProvider
from ledger.accounts import DEFAULT_LIMITS, Policy
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import AgentNodeError, BudgetRefused
from ledger.events import EconomicEvent, Events
from ledger.money import NANOS_PER_USD
from ledger.spend import NewBudget, Spend, count, slot
from ledger.vault import Vault
from tests.engine.routing.models import MODELS
from tests.engine.world import account, ask
from tests.ledger.parts import MemoryKey, SetClock

DEAR = MODELS[0]


def after(costs: Sequence[int]) -> Costs:
    known = Costs()
    for cost in costs:
        known = known.with_cost(cost)
    return known


@given(st.integers(100, 10**12), st.integers(MIN_SAMPLES, 300))
def test_a_hundredfold_cost_is_flagged_and_one_per_cent_more_is_not(cost: int, samples: int) -> None:
    """After a steady series, however long and at whatever level."""
    steady = after([cost] * samples)
    assert is_anomalous(steady, cost * 100)
    assert not is_anomalous(steady, cost + cost // 100)
    assert not is_anomalous(steady, cost // 1_000)


@given(st.lists(st.integers(1, 10**12), max_size=MIN_SAMPLES - 1), st.integers(1, 10**15))
def test_nothing_is_unusual_before_there_are_enough_samples(costs: list[int], cost: int) -> None:
    assert not is_anomalous(after(costs), cost)


@given(st.lists(st.sampled_from([1_000, 10_000, 100_000]), min_size=60, max_size=200))
def test_a_spread_that_is_a_tenants_own_is_not_unusual(costs: list[int]) -> None:
    """Where a hundredfold comes as often as the rest, it is flagged no more."""
    assert not is_anomalous(after([*costs, *[1_000, 10_000, 100_000] * 20]), 100_000)


@given(st.integers(0, 10**9), st.integers(1, 4), st.text("ab ", min_size=1, max_size=200))
def test_a_sum_affords_an_answer_that_never_costs_more(extra: int, choices: int, text: str) -> None:
    """Whatever was granted between the least and the whole: the limit told to the upstream keeps within it."""
    request = ask(text, n=choices)
    whole = bound(request, DEAR)
    granted = min(whole.usd_nanos, whole.least_usd_nanos + extra)
    cut = afforded(whole, request, DEAR, granted)
    told = ask(text, n=choices, max_tokens=cut.max_tokens)
    assert bound(told, DEAR).usd_nanos <= granted
    assert 1 <= cut.max_tokens <= whole.max_tokens
    assert cut.completion_tokens == cut.max_tokens * choices


@given(st.integers(0, 10**9), st.integers(1, 4), st.none() | st.integers(1, 5_000))
def test_what_is_left_of_a_limit_is_kept_or_nothing_is_asked(left: int, choices: int, max_tokens: int | None) -> None:
    """Never dearer than it, never shorter than the caller said, and without that never a mere beginning."""
    request = ask("a question", n=choices, max_tokens=max_tokens)
    whole = bound(request, DEAR)
    shorter = within(whole, request, DEAR, left)
    if shorter is None:
        fair = bound(ask("a question", n=choices, max_tokens=max_tokens or FAIR_TOKENS), DEAR)
        assert left < fair.usd_nanos
    else:
        told = ask("a question", n=choices, max_tokens=shorter.max_tokens)
        assert bound(told, DEAR).usd_nanos <= max(left, 0)
        assert shorter.max_tokens >= (whole.max_tokens if max_tokens else min(FAIR_TOKENS, whole.max_tokens))


def test_without_a_limit_an_answer_is_as_long_as_model_and_money_allow() -> None:
    """A set limit is held whole; else the least is a short answer, and a cap of cost shortens it to a fair one."""
    assert bound(ask("q", max_tokens=50), DEAR).least_usd_nanos == bound(ask("q", max_tokens=50), DEAR).usd_nanos
    free = bound(ask("q"), DEAR)
    assert free.max_tokens == DEAR.max_output or DEAR.max_output is None
    assert free.least_usd_nanos == bound(ask("q", max_tokens=LEAST_TOKENS), DEAR).usd_nanos
    capped = bound(ask("q"), DEAR, most_usd_nanos=1)
    assert capped.usd_nanos <= bound(ask("q", max_tokens=FAIR_TOKENS), DEAR).usd_nanos


@pytest.mark.parametrize(
    ("budget_id", "error", "layer"),
    [
        ("rate:acme:2026-01-31T12", RateLimitExceeded, "rate"),
        ("day:acme:2026-01-31", DailyLimitExceeded, "day"),
        ("slots:acme", TooManyConcurrent, "concurrency"),
        ("owner:acme:department:claims:2026-01", OwnerBudgetExceeded, "budget"),
        ("session:sess_1", SessionBudgetExceeded, "budget"),
        ("credits:acme", FundsInsufficient, "budget"),
        ("test-funds:sess_1", FundsInsufficient, "budget"),
        ("open:acme", FundsInsufficient, "budget"),
    ],
)
def test_a_budget_without_room_is_told_by_its_layers_code(
    budget_id: str, error: type[AgentNodeError], layer: str
) -> None:
    """Those before it passed, those after it were not reached; only what waiting cures says how long."""
    verdicts = Verdicts()
    told = error_of(BudgetRefused(budget_id, 5, 3), 1_700_000_000_000_000)
    assert type(told) is error
    assert (told.retry_after_ms is not None) == (error in (RateLimitExceeded, TooManyConcurrent))
    assert told.should_retry == (error is not DailyLimitExceeded)
    verdicts.refuse(layer)  # type: ignore[arg-type]
    place = LAYERS.index(layer)  # type: ignore[arg-type]
    assert list(verdicts.said.values()) == ["pass"] * place + ["refused"] + ["not reached"] * (5 - place)


class Past:
    """What a tenant's calls could cost, the latest first."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self.events = [EconomicEvent(trace={"bound_usd_nanos": nanos}) for nanos in bounds]

    async def latest(self, tenant_id: str, kind: str, limit: int) -> Sequence[EconomicEvent]:
        return self.events[:limit]


async def test_an_unusual_cost_is_flagged_and_refused_only_by_a_hard_policy(database: Database) -> None:
    """A process that has just started knows what is usual from the tenant's latest events."""
    limit = bound(ask("q", max_tokens=100), DEAR)
    guard = Guard(Spend(database, SystemClock(), "test"), Past([limit.usd_nanos // 1_000] * 40), SystemClock())
    soft, verdicts = account(), Verdicts()
    await guard.admit(soft, limit, verdicts)
    assert verdicts.said["anomaly"] == "flagged" and "refused" not in verdicts.said.values()
    hard = account(policy=Policy(DEFAULT_LIMITS, billing="open", anomaly="hard"))
    with pytest.raises(CostAnomalous):
        await guard.admit(hard, limit, Verdicts())


@pytest.mark.parametrize(
    ("used_up", "error"),
    [((), RequestTooExpensive), (("slots",), TooManyConcurrent), (("rate", "slots"), RateLimitExceeded)],
)
async def test_of_several_layers_that_refuse_the_first_is_named(
    database: Database, used_up: tuple[str, ...], error: type[AgentNodeError]
) -> None:
    """A request that is too dear and comes too often hears that it comes too often."""
    spend = Spend(database, SystemClock(), "test")
    for name in ("rate", "slots"):
        await spend.open_budget(NewBudget(f"{name}:t", "tenant", name, 0 if name in used_up else 1))
    guard = Guard(spend, Events(database), SystemClock())
    limit = bound(ask("q", max_tokens=100), DEAR)
    cheap = DEFAULT_LIMITS.__class__(1, NANOS_PER_USD, 1, limit.usd_nanos - 1)
    mine = account(count("rate:t"), slot("slots:t"), policy=Policy(cheap, billing="open"))
    with pytest.raises(error):
        await guard.admit(mine, limit, Verdicts())


async def test_an_agent_that_asks_on_without_money_does_not_fill_the_disk(database: Database) -> None:
    """Its first refusals of a minute are booked, the others are told to it only; the next minute begins anew."""
    clock = SetClock()
    spend = Spend(database, clock, "test")
    await spend.start()
    await spend.open_budget(NewBudget("open:tenant", "tenant", "open", 0))
    events, vault = Events(database), Vault(database, clock, MemoryKey())
    providers = Providers([OfflineProvider(Embedder(), clock)])
    engine = Engine(spend, events, vault, Catalog.load(), providers, clock)
    try:
        for asked in range(MOST_BOOKED + 3):
            with pytest.raises(FundsInsufficient):
                await engine.complete(ask("One.", model="offline/extract"), account(), Call(f"req_{asked}"))
        assert len(await events.latest("tenant", "refusal", 1_000)) == MOST_BOOKED
        clock.pass_s(60)
        with pytest.raises(FundsInsufficient):
            await engine.complete(ask("One.", model="offline/extract"), account(), Call("req_later"))
        assert len(await events.latest("tenant", "refusal", 1_000)) == MOST_BOOKED + 1
    finally:
        await spend.close()
