"""What a request says of how it wants to be served is checked field by field, and a refusal names the field."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.attribution import MAX_ENTRIES, attribution_of
from engine.options import DEFAULTS, MODES, Options, options_of
from ledger.accounts import OwnerBudget
from ledger.accounts.policy import OWNER_TYPES, owners_of
from ledger.errors import InvalidInput


def of(**p402: Any) -> Options:
    return options_of({"p402": p402})


def test_a_request_without_options_has_the_defaults_and_makes_nothing() -> None:
    for body in ({}, {"p402": None}, {"p402": {}}):
        assert options_of(body) is DEFAULTS
    assert (DEFAULTS.mode, DEFAULTS.failover, DEFAULTS.rate_limit_strategy) == ("balanced", True, "switch")
    assert of(mode=None, max_cost=None) == DEFAULTS


def test_every_option_is_read() -> None:
    read = of(
        mode="cost",
        prefer_providers=["Groq"],
        exclude_providers=["openai", "xai"],
        require_capabilities=["vision"],
        max_cost="0.05",
        session_id="sess_1",
        cache=False,
        cache_ttl=60,
        failover=False,
        tenant_id="t",
        privacy_mode="metadata_only",
        min_context=128_000,
        prefer_tier="budget",
        max_tier="mid",
        rate_limit_strategy="queue",
        on_rate_limit="pay",
    )
    assert read == Options(
        mode="cost",
        weights=MODES["cost"],
        prefer_providers=frozenset({"groq"}),
        exclude_providers=frozenset({"openai", "xai"}),
        require_capabilities=frozenset({"vision"}),
        max_cost_usd_nanos=50_000_000,
        session_id="sess_1",
        cache=False,
        cache_ttl_s=60,
        failover=False,
        tenant_id="t",
        privacy_mode="metadata_only",
        min_context=128_000,
        prefer_tier="budget",
        max_tier="mid",
        rate_limit_strategy="queue",
        on_rate_limit="pay",
    )


@given(st.fixed_dictionaries({}, optional={name: st.floats(0, 1_000) for name in ("cost", "quality", "speed")}))
def test_own_weights_are_shares(weights: dict[str, float]) -> None:
    """Whatever their size they sum to one, and all zeros say nothing."""
    if sum(weights.values()) < 1e-9:
        with pytest.raises(InvalidInput):
            of(mode=weights)
        return
    read = of(mode=weights)
    assert read.mode == "custom"
    assert math.isclose(read.weights.cost + read.weights.quality + read.weights.speed, 1)


@pytest.mark.parametrize(
    ("p402", "param"),
    [
        ("text", "p402"),
        ([], "p402"),
        (False, "p402"),
        ({"max_price": 1}, "p402.max_price"),
        ({"mode": "cheap"}, "p402.mode"),
        ({"mode": []}, "p402.mode"),
        ({"mode": {}}, "p402.mode"),
        ({"mode": {"price": 1}}, "p402.mode.price"),
        ({"mode": {"cost": -1}}, "p402.mode.cost"),
        ({"mode": {"cost": float("nan")}}, "p402.mode.cost"),
        ({"mode": {"cost": True}}, "p402.mode.cost"),
        ({"prefer_providers": "openai"}, "p402.prefer_providers"),
        ({"exclude_providers": [""]}, "p402.exclude_providers[0]"),
        ({"exclude_providers": ["a", 7]}, "p402.exclude_providers[1]"),
        ({"exclude_providers": ["a"] * 65}, "p402.exclude_providers"),
        ({"require_capabilities": ["telepathy"]}, "p402.require_capabilities"),
        ({"max_cost": -1}, "p402.max_cost"),
        ({"max_cost": "much"}, "p402.max_cost"),
        ({"session_id": 7}, "p402.session_id"),
        ({"cache": "yes"}, "p402.cache"),
        ({"cache_ttl": 86_401}, "p402.cache_ttl"),
        ({"cache_ttl": 1.5}, "p402.cache_ttl"),
        ({"failover": 1}, "p402.failover"),
        ({"privacy_mode": "none"}, "p402.privacy_mode"),
        ({"min_context": 0}, "p402.min_context"),
        ({"prefer_tier": "offline"}, "p402.prefer_tier"),
        ({"max_tier": []}, "p402.max_tier"),
        ({"rate_limit_strategy": "wait"}, "p402.rate_limit_strategy"),
        ({"on_rate_limit": True}, "p402.on_rate_limit"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(p402: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        options_of({"p402": p402})
    assert refused.value.param == param


def test_metadata_is_attribution_under_one_name_each() -> None:
    """`department` is `department_id`, and what has no name of its own is a tag."""
    metadata = {"department": "d1", "workflow_id": "w", "task": "summary", "sprint": 7, "tags": ["a"], "customer": None}
    assert attribution_of({"metadata": metadata}) == {
        "department_id": "d1",
        "workflow_id": "w",
        "task_type": "summary",
        "tags": {"sprint": "7", "a": "true"},
    }
    assert attribution_of({}) == attribution_of({"metadata": {}}) == {}
    assert attribution_of({"metadata": {"tags": {"team": "x"}}}) == {"tags": {"team": "x"}}


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ("text", "metadata"),
        ({"department": []}, "metadata.department"),
        ({"department": "x" * 513}, "metadata.department"),
        ({"department": "a", "department_id": "b"}, "metadata.department_id"),
        ({"x" * 65: "a"}, "metadata." + "x" * 64),
        ({"Prompt": "what they asked"}, "metadata.Prompt"),
        ({"tags": "a"}, "metadata.tags"),
        ({"tags": ["a", 7]}, "metadata.tags[1]"),
        ({"tags": {"response": "x"}}, "metadata.tags"),
        ({str(index): "x" for index in range(MAX_ENTRIES + 1)}, "metadata"),
    ],
)
def test_metadata_is_bounded_and_never_content(metadata: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        attribution_of({"metadata": metadata})
    assert refused.value.param == param


@pytest.mark.parametrize("owner_type", OWNER_TYPES)
def test_a_budget_of_any_kind_of_owner_counts_where_the_metadata_names_the_owner(owner_type: str) -> None:
    """In short, in full, or by `owner_type` and `owner_id`: a budget that nothing could name would cap nothing."""
    full = "task_type" if owner_type == "task" else f"{owner_type}_id"
    budget = OwnerBudget(owner_type, "one", "day", 5)
    for metadata in ({owner_type: "one"}, {full: "one"}, {"owner_type": owner_type, "owner_id": "one"}):
        assert owners_of((budget,), attribution_of({"metadata": metadata})) == (budget,)
    assert owners_of((budget,), attribution_of({"metadata": {full: "two", "owner_id": "one"}})) == ()
