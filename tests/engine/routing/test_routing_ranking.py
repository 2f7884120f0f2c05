"""Which model serves a request can be told beforehand, from what is stated and measured, and nobody can shift it."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import OFFLINE, CompletionRequest, Model
from engine.catalog import ModelPrice, TokenRate
from engine.catalog.quality import median_of
from engine.errors import FundsInsufficient, ModelNotAllowed, ModelUnavailable, NoModelServes
from engine.guard import bound
from engine.options import DEFAULTS, FIELDS, MODES, Options, options_of
from engine.routing import Candidate
from engine.routing.candidate import needs_of
from engine.routing.exclusion import RULES
from engine.routing.measures import Measured
from engine.routing.ranking import rank
from engine.routing.scoring import cost_score, quality_score, speed_score
from engine.routing.traits import KnownTraits, traits_of
from ledger.errors import AgentNodeError
from tests.docs.pages import page, rows
from tests.engine.routing.models import MODELS, ids, measured, model, ranking

HELLO = CompletionRequest([{"role": "user", "content": "hello"}])
GOLDEN: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden.json").read_text())


class Names(NamedTuple):
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()


class Policy(NamedTuple):
    models: Names = Names()
    vendors: Names = Names()


def request_of(body: dict[str, Any]) -> CompletionRequest:
    body = dict(body)
    if repeat := body["messages"][0].get("repeat"):
        body["messages"] = [{"role": "user", "content": "word " * repeat}]
    return CompletionRequest.parse(body)


def test_fifty_requests_are_ranked_as_they_were() -> None:
    """Who changes the formula sees here what that does."""
    assert len(GOLDEN) == 50
    for case in GOLDEN:
        found = ranking(request_of(case["request"]), options_of(case["request"]))
        assert ids(found) == case["ranking"], case["request"]
        assert {each.model_id: each.rule for each in found.excluded} == case["excluded"], case["request"]


shares = st.integers(0, 20).map(lambda twentieth: twentieth / 20)
some_models = st.lists(
    st.builds(
        model,
        st.sampled_from(["alpha", "beta"]),
        st.text("abc", min_size=1, max_size=2),
        st.integers(0, 8).map(lambda step: 0.01 * 3**step),
        st.integers(0, 8).map(lambda step: 0.02 * 3**step),
        shares,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.id,
)
paces = st.builds(
    Measured, st.sampled_from([20.0, 300.0, 9_000.0]), st.sampled_from([0.1, 8.0, 90.0]), shares, st.just(1.0)
)
all_options = st.builds(
    Options,
    weights=st.sampled_from(list(MODES.values())),
    prefer_providers=st.sampled_from([frozenset[str](), frozenset({"alpha"})]),
)


def winners(models: list[Model], speeds: Callable[[Model], Measured], options: Options) -> list[str]:
    candidates = [Candidate(each, bound(HELLO, each)) for each in models]
    return ids(rank(candidates, needs_of(HELLO), options, measured=speeds))


@given(some_models, st.lists(paces, min_size=7, max_size=7), all_options, st.randoms())
def test_the_order_in_which_models_come_does_not_matter(
    models: list[Model], speeds: list[Measured], options: Options, shuffler: random.Random
) -> None:
    pace = dict(zip([each.id for each in models], speeds, strict=False))
    shuffled = list(models)
    shuffler.shuffle(shuffled)
    assert winners(shuffled, lambda each: pace[each.id], options) == winners(
        models, lambda each: pace[each.id], options
    )


@given(some_models, st.lists(paces, min_size=7, max_size=7), all_options, st.integers(0, 4), st.integers(0, 4))
def test_cheaper_better_and_faster_never_ranks_lower(
    models: list[Model], speeds: list[Measured], options: Options, gain: int, name: int
) -> None:
    """Nor does one that is as good, whatever else there is and however its name sorts among others."""
    pace = dict(zip([each.id for each in models], speeds, strict=False))
    first = models[0]
    rate, factor = first.price.output, 1 + gain
    better = dataclasses.replace(
        first,
        name="0abcd"[name] + "0",
        price=dataclasses.replace(first.price, output=TokenRate(rate.base // factor)),
        quality=min(1.0, (first.quality or 0) + gain / 20),
    )
    old = pace[first.id]
    pace[better.id] = Measured(
        old.first_token_ms / factor, old.ms_per_token / factor, min(1.0, old.success + gain / 20), 1
    )
    order = winners([*models, better], lambda each: pace[each.id], options)
    assert order.index(better.id) < order.index(first.id) or (gain == 0 and first.id < better.id)


@given(some_models, st.lists(paces, min_size=7, max_size=7), all_options, some_models)
def test_who_is_added_changes_nothing_between_the_others(
    models: list[Model], speeds: list[Measured], options: Options, more: list[Model]
) -> None:
    """So a worse model can never lift one over another, nor change the winner."""
    pace = dict(zip([each.id for each in models], speeds, strict=False))
    strangers = [each for each in more if each.id not in pace]
    order = winners([*models, *strangers], lambda each: pace.get(each.id, speeds[-1]), options)
    assert [each for each in order if each in pace] == winners(models, lambda each: pace[each.id], options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prefer", [frozenset[str](), frozenset({"offline"})])
def test_a_model_of_little_use_is_chosen_last_in_every_mode(mode: str, prefer: frozenset[str]) -> None:
    """The offline one answers at once and costs next to nothing, and is still no language model; alone it serves."""
    options = Options(mode, MODES[mode], prefer_providers=prefer)
    assert ids(ranking(HELLO, options))[-2:] == ["tiny/tiny-1b", "offline/extract"]
    assert ids(ranking(HELLO, options, models=[OFFLINE])) == ["offline/extract"]
    named = dataclasses.replace(HELLO, model="offline/extract")
    assert ids(ranking(named, options)) == ["offline/extract"]


def test_equals_are_ranked_by_name() -> None:
    same = [model("up", name) for name in ("c", "a", "b")]
    assert ids(ranking(HELLO, models=same)) == ["up/a", "up/b", "up/c"]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Policy(), ["openai/gpt-4o", "openrouter/openai/gpt-4o"]),
        (Policy(models=Names(deny=frozenset({"gpt-4o"}))), []),
        (Policy(models=Names(deny=frozenset({"openrouter/openai/gpt-4o"}))), ["openai/gpt-4o"]),
        (Policy(models=Names(allow=frozenset({"openai/gpt-4o"}))), ["openai/gpt-4o", "openrouter/openai/gpt-4o"]),
        (Policy(models=Names(allow=frozenset({"claude"}))), []),
        (Policy(vendors=Names(deny=frozenset({"openai"}))), []),
        (Policy(vendors=Names(deny=frozenset({"openrouter"}))), ["openai/gpt-4o"]),
        (Policy(vendors=Names(allow=frozenset({"openai"}))), ["openai/gpt-4o"]),
        (Policy(vendors=Names(allow=frozenset({"openrouter"}))), ["openrouter/openai/gpt-4o"]),
        (Policy(vendors=Names(allow=frozenset())), []),
    ],
)
def test_the_policy_says_which_models_and_vendors_serve(policy: Policy, kept: list[str]) -> None:
    """An allowed vendor may get the request; a denied one is kept out as upstream and as maker."""
    found = ranking(dataclasses.replace(HELLO, model="openai/gpt-4o"), policy=policy)
    assert ids(found) == kept
    if not kept:
        assert isinstance(found.refusal(), ModelNotAllowed)


def test_a_denied_model_is_denied_under_all_its_names() -> None:
    """A snapshot, a variant and another upstream's name for it are the same model."""
    for name in ("gpt-4o", "gpt-4o-2024-08-06", "GPT-4o", "openai/gpt-4o:free", "openai/gpt-4o-20240806:nitro"):
        denied = Policy(models=Names(deny=frozenset({"GPT-4o"})))
        assert ids(ranking(HELLO, policy=denied, models=[model("up", name)])) == [], name
        assert "gpt-4o" in traits_of(model("up", name)).names, name
    assert "gpt-4o" not in traits_of(model("up", "gpt-4o-mini")).names
    assert "gpt-4o-2024-08-06" not in traits_of(model("up", "gpt-4o")).names


def test_a_maker_is_kept_out_under_all_its_names() -> None:
    for vendor, name in [("mistral", "mistralai/m"), ("xAI", "x-ai/grok"), ("openai", "~openai/gpt"), ("UP", "m")]:
        denied = Policy(vendors=Names(deny=frozenset({vendor})))
        assert ids(ranking(HELLO, policy=denied, models=[model("up", name)])) == [], name
    assert traits_of(model("up", "accounts/fireworks/models/llama")).vendors == {"up"}


@pytest.mark.parametrize(
    ("p402", "wanted", "error", "param", "says"),
    [
        ({"max_cost": 0.0001}, "gpt-4o", NoModelServes, "p402.max_cost", "raise p402.max_cost"),
        ({"max_cost": 0}, None, NoModelServes, "p402.max_cost", "raise p402.max_cost"),
        ({"exclude_providers": ["openai"]}, "openai/gpt-4o", NoModelServes, "p402.exclude_providers", "openai"),
        ({"max_tier": "mid"}, "openai/gpt-4o", NoModelServes, "p402.max_tier", "premium"),
        ({"min_context": 2_000_000}, None, NoModelServes, "messages", "p402.min_context"),
        ({"require_capabilities": ["reasoning"]}, "gpt-4o", NoModelServes, "model", "reasoning"),
        ({"require_capabilities": ["vision"]}, "vllm/unknown", NoModelServes, "model", "nobody states"),
    ],
)
def test_a_pin_that_cannot_be_met_is_refused_with_the_reason(
    p402: dict[str, Any], wanted: str | None, error: type[AgentNodeError], param: str, says: str
) -> None:
    """And so is a request that nobody can serve: by what is in the way of whoever came closest."""
    models = [each for each in MODELS if p402.get("max_cost") != 0 or each.price.output.base]
    found = ranking(dataclasses.replace(HELLO, model=wanted), options_of({"p402": p402}), models=models)
    assert found.chosen == []
    refusal = found.refusal()
    assert (type(refusal), refusal.param) == (error, param)
    assert says in refusal.message


def test_a_model_without_a_key_is_never_chosen_and_the_key_is_named() -> None:
    candidates = [Candidate(each, bound(HELLO, each)) for each in MODELS]
    keys = {each.provider: f"{each.provider.upper()}_KEY" for each in MODELS if each is not OFFLINE}
    found = rank(candidates, needs_of(HELLO), DEFAULTS, missing_keys=keys)
    assert ids(found) == ["offline/extract"]
    pinned = [each for each in candidates if each.model.id == "openai/gpt-4o"]
    refusal = rank(pinned, needs_of(dataclasses.replace(HELLO, model="gpt-4o")), DEFAULTS, missing_keys=keys).refusal()
    assert isinstance(refusal, ModelUnavailable)
    assert "OPENAI_KEY" in refusal.message
    assert isinstance(rank([], needs_of(HELLO), DEFAULTS).refusal(), ModelUnavailable)


def test_test_money_alone_chooses_among_those_who_take_it() -> None:
    """And what only real money buys is refused for want of that."""
    candidates = [Candidate(each, bound(HELLO, each)) for each in MODELS]
    assert ids(rank(candidates, needs_of(HELLO), DEFAULTS, test_money=True)) == ["offline/extract"]
    seeing = dataclasses.replace(HELLO, options={"response_format": {"type": "json_object"}})
    refusal = rank(candidates, needs_of(seeing), DEFAULTS, test_money=True).refusal()
    assert isinstance(refusal, FundsInsufficient) and "buy credits" in refusal.message


def test_a_model_whose_upstream_does_not_take_an_option_is_passed_over() -> None:
    """It would refuse by name; another one serves, and one answer is asked for by nobody."""
    picky = dataclasses.replace(MODELS[0], unsupported=frozenset({"seed", "n"}))
    seeded = dataclasses.replace(HELLO, options={"seed": 7})
    found = ranking(seeded, models=[picky, MODELS[1]])
    assert found.excluded == [(picky.id, "option_unsupported", "seed")]
    assert picky.id in ids(ranking(dataclasses.replace(HELLO, options={"n": 1}), models=[picky, MODELS[1]]))


def test_every_rule_has_a_reason_and_no_reason_is_without_its_rule() -> None:
    """What the golden file and the refusals above do not show is not there."""
    shown = {rule for case in GOLDEN for rule in case["excluded"].values()}
    elsewhere = {"not_wanted", "model_denied", "vendor_denied", "no_key", "option_unsupported", "test_money"}
    assert set(RULES) - shown == elsewhere
    assert rank(
        [Candidate(OFFLINE, bound(HELLO, OFFLINE))], needs_of(dataclasses.replace(HELLO, model="x")), DEFAULTS
    ).excluded == [("offline/extract", "not_wanted", "")]


def test_every_rule_and_every_option_stands_on_its_page() -> None:
    """And none that is not there."""
    cells = [re.findall(r"`(\w+)`", row[0]) for row in rows(page("routing.md"))]
    documented = [name for names in cells for name in names]
    assert set(documented) == {*RULES, *FIELDS}
    assert [name for name in documented if name in RULES] == list(RULES)


@given(st.floats(0, 1), st.integers(0, 500), st.integers(0, 500))
def test_the_tenants_own_outcomes_move_a_stated_quality(stated: float, accepted: int, others: int) -> None:
    """By their number: twenty count as much as what is stated. Never below 0 or above 1."""
    quality = quality_score(stated, (accepted, accepted + others))
    assert 0 <= quality <= 1
    if others == 0:
        assert quality >= stated
    assert quality_score(stated, (0, 0)) == stated
    assert quality_score(0.5, (20, 20)) == pytest.approx(0.75)


def test_an_assumed_quality_counts_less_than_a_measured_one() -> None:
    """The tier's median, which is what a model without a published figure has."""
    assumed = dataclasses.replace(model("up", "a", quality=0.83), quality_source=median_of("mid").source)
    measured_one = dataclasses.replace(model("up", "b", quality=0.65), quality_source="a page, a date")
    assert ids(ranking(HELLO, models=[assumed, measured_one])) == ["up/b", "up/a"]
    assert ranking(HELLO, models=[OFFLINE]).chosen[0].quality == OFFLINE.quality


def test_outcomes_can_turn_a_choice() -> None:
    good, bad = model("up", "a", quality=0.7), model("up", "b", quality=0.6)
    candidates = [Candidate(each, bound(HELLO, each)) for each in (good, bad)]
    assert ids(rank(candidates, needs_of(HELLO), DEFAULTS)) == ["up/a", "up/b"]
    outcomes = {"up/a": (1, 40), "up/b": (39, 40)}
    assert ids(rank(candidates, needs_of(HELLO), DEFAULTS, outcomes=outcomes)) == ["up/b", "up/a"]


def test_the_scales_are_what_the_page_says() -> None:
    """A cent and a hundred dollars for a million tokens; a tenth of a second and a hundred seconds."""
    assert [cost_score(usd * 10**9) for usd in (0, 0.01, 0.1, 1, 10, 100, 900)] == pytest.approx(
        [1, 1, 0.75, 0.5, 0.25, 0, 0]
    )
    assert [speed_score(ms) for ms in (1, 100, 1_000, 10_000, 100_000, 10**7)] == pytest.approx(
        [1, 1, 2 / 3, 1 / 3, 0, 0]
    )


def test_the_whole_scoring_can_be_told_and_recomputed() -> None:
    """As JSON, with every part, weight and figure: the score is made of what stands there."""
    found = ranking(HELLO, options_of({"p402": {"mode": "quality", "prefer_tier": "mid"}}))
    told = json.loads(orjson.dumps(found.as_dict()))
    assert [each["model"] for each in told["candidates"]] == ids(found)
    for each in told["candidates"]:
        parts = sum(each[part]["score"] * each[part]["weight"] for part in ("cost", "quality", "speed"))
        assert each["score"] == pytest.approx(each["success"] * (parts + each["bonus"]), abs=5e-4)
        assert each["cost"]["expected_usd_exact"]
    assert {each["model"] for each in told["excluded"]} == {"vllm/unknown"}
    short = found.as_dict(most=3)
    assert len(short["candidates"]) == 3
    assert short["excluded"] == {"capabilities_unknown": 1}


def test_a_price_that_changes_with_the_prompt_is_compared_at_this_prompt() -> None:
    steps = ModelPrice(*[TokenRate(10**9, ((1_000, 9 * 10**9),))] * 5, "v")  # type: ignore[arg-type]
    stepped = dataclasses.replace(model("up", "stepped"), price=steps)
    flat = model("up", "flat", 3, 3)
    by_cost = options_of({"p402": {"mode": {"cost": 1}}})
    long = CompletionRequest([{"role": "user", "content": "word " * 1_000}])
    assert ids(ranking(HELLO, by_cost, models=[flat, stepped])) == ["up/stepped", "up/flat"]
    assert ids(ranking(long, by_cost, models=[flat, stepped])) == ["up/flat", "up/stepped"]


def test_what_is_remembered_of_a_model_follows_its_price() -> None:
    """A catalog that was renewed is a new price, not the one remembered."""
    known = KnownTraits()
    old, new = model("up", "a", 1), model("up", "a", 2)
    assert known.of(old) is known.of(old)
    assert (known.of(new).input_nanos_per_mtok, known.of(old).input_nanos_per_mtok) == (2 * 10**9, 10**9)
    assert measured(old).samples == 0
