"""Policies, pure: what the four voices come to, and documents that survive being kept, shown and sent back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.accounts import DEFAULT_LIMITS, Limits, Names, OwnerBudget, limits_of, shown, tightest
from ledger.accounts.credits import NANOS_PER_CREDIT, bought_for
from ledger.accounts.documents import document_of, said_in
from ledger.accounts.policy import (
    NOTHING_SAID,
    OWNER_TYPES,
    PERIODS,
    PRIVACY_MODES,
    Said,
    owners_of,
    policy_of,
    wider_than,
)
from ledger.errors import InvalidInput
from ledger.money import MAX_USD_NANOS

_LIMITS = Limits.__slots__
_amounts = st.integers(0, MAX_USD_NANOS)
_counts = st.integers(0, 10**9)
_texts = st.sampled_from(["a", "b", "openai/gpt", "ü"])
_names = st.builds(Names, st.none() | st.frozensets(_texts, min_size=1), st.frozensets(_texts))
_limits = st.fixed_dictionaries(
    {},
    optional={name: _amounts if name.startswith("usd") else _counts for name in _LIMITS},
)
_budgets = st.lists(
    st.builds(OwnerBudget, st.sampled_from(OWNER_TYPES), _texts, st.sampled_from(PERIODS), _amounts),
    unique_by=lambda each: (each.owner_type, each.owner_id, each.period),
    max_size=4,
).map(tuple)
_said = st.builds(
    Said,
    limits=_limits,
    models=_names,
    vendors=_names,
    billing=st.sampled_from([None, "open", "prepaid"]),
    anomaly=st.sampled_from([None, "soft", "hard"]),
    privacy_mode=st.sampled_from([None, *PRIVACY_MODES]),
    unsigned_mandates=st.sampled_from([None, True, False]),
    budgets=_budgets,
)


@given(_said, _said, _said, _said)
def test_nobody_below_the_operator_widens_anything(operator: Said, tenant: Said, key: Said, session: Said) -> None:
    """Whatever tenant, key and session say, no limit rises, no name is allowed anew, nobody else chooses who pays."""
    frame = policy_of(DEFAULT_LIMITS, "prepaid", operator, NOTHING_SAID)
    held = policy_of(DEFAULT_LIMITS, "prepaid", operator, tenant, key, session)
    assert all(getattr(held.limits, name) <= getattr(frame.limits, name) for name in _LIMITS)
    for before, after in ((frame.models, held.models), (frame.vendors, held.vendors)):
        assert before.allow is None or (after.allow is not None and after.allow <= before.allow)
        assert after.deny >= before.deny
    assert held.billing == frame.billing == (operator.billing or "prepaid")
    assert frame.anomaly == "soft" or held.anomaly == "hard"
    of_tenant = policy_of(DEFAULT_LIMITS, "prepaid", operator, tenant)
    assert tightest(of_tenant.privacy_mode, held.privacy_mode) == held.privacy_mode


@given(_said)
def test_a_policy_is_kept_as_it_was_said(said: Said) -> None:
    """To the nano."""
    assert said_in(document_of(said)) == said


@given(_said)
def test_what_is_shown_of_a_policy_can_be_sent_back(said: Said) -> None:
    """And then says the same, though floats stand beside exact amounts."""
    held = policy_of(DEFAULT_LIMITS, "open", said, NOTHING_SAID)
    again = said_in(shown(held))
    assert policy_of(held.limits, "open", again, NOTHING_SAID).limits == held.limits
    assert wider_than(again, held.limits) is None
    assert again.budgets == held.budgets


def test_a_verified_human_has_twice_the_requests_unless_the_operator_said_otherwise() -> None:
    """1000 an hour, 2000 for humans; a limit that was set holds for everybody."""
    assert limits_of(DEFAULT_LIMITS, (NOTHING_SAID,)).requests_per_hour == 1000
    assert limits_of(DEFAULT_LIMITS, (NOTHING_SAID,), human=True).requests_per_hour == 2000
    set_by_operator = said_in({"limits": {"requests_per_hour": 7}})
    assert limits_of(DEFAULT_LIMITS, (set_by_operator,), human=True).requests_per_hour == 7
    assert limits_of(DEFAULT_LIMITS, (NOTHING_SAID, set_by_operator), human=True).requests_per_hour == 7


@pytest.mark.parametrize(
    ("mode", "asked", "held"),
    [
        ("full_trace", "metadata_only", "metadata_only"),
        ("metadata_only", "full_trace", "metadata_only"),
        ("metadata_only", "private_gateway", "metadata_only"),
        ("private_gateway", "metadata_only", "private_gateway"),
        ("redacted_trace", "fingerprint_only", "fingerprint_only"),
        ("redacted_trace", None, "redacted_trace"),
    ],
)
def test_a_request_only_tightens_privacy(mode: str, asked: str | None, held: str) -> None:
    """private_gateway is as tight as metadata_only: neither replaces the other."""
    assert tightest(mode, asked) == held


def test_the_sessions_agent_is_no_matter_of_attribution() -> None:
    """A request in a session is its agent's, whatever it says; without a session its word counts."""
    budget = OwnerBudget("agent", "a1", "day", 5)
    assert owners_of((budget,), {"agent_id": "other"}, ("a1",)) == (budget,)
    assert owners_of((budget,), {"agent_id": "a1"}, ("other",)) == ()
    assert owners_of((budget,), {"agent_id": "a1"}) == (budget,)
    assert owners_of((budget,), {"agent_id": ["a1"]}) == ()


def test_of_two_budgets_for_one_owner_the_lower_counts() -> None:
    """The operator's and the tenant's."""
    high, low = (OwnerBudget("task", "t", "day", limit) for limit in (9, 5))
    assert owners_of((high, low), {"task": "t"}) == (low,)


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"limit": {}}, "policy.limit"),
        ({"limits": {"requests": 1}}, "limits.requests"),
        ({"limits": {"requests_per_hour": 1.5}}, "limits.requests_per_hour"),
        ({"limits": {"requests_per_hour": True}}, "limits.requests_per_hour"),
        ({"limits": {"concurrent": -1}}, "limits.concurrent"),
        ({"limits": {"usd_per_day": "1e99"}}, "limits.usd_per_day"),
        ({"limits": {"usd_per_day": 2, "usd_per_day_exact": "1"}}, "limits.usd_per_day"),
        ({"models": {"allow": "gpt"}}, "models.allow"),
        ({"vendors": {"deny": ["a\u0000"]}}, "vendors.deny"),
        ({"anomaly": "loud"}, "anomaly"),
        ({"unsigned_mandates": 1}, "unsigned_mandates"),
        (
            {"budgets": [{"owner_type": "king", "owner_id": "a", "period": "day", "limit_usd": 1}]},
            "budgets.0.owner_type",
        ),
        ({"budgets": [{"owner_type": "task", "owner_id": "a", "period": "day"}]}, "budgets.0"),
        ({"budgets": [{"owner_type": "task", "owner_id": "a", "period": "day", "limit_usd": 1}] * 2}, "budgets.1"),
        ([], "policy"),
    ],
)
def test_a_malformed_policy_is_refused_by_field(document: Any, param: str) -> None:
    """A typing error is never taken for a policy that says nothing."""
    with pytest.raises(InvalidInput) as refused:
        said_in(document)
    assert refused.value.param == param


@given(st.integers(1, MAX_USD_NANOS // 2), st.integers(0, 10**12))
def test_more_money_never_buys_fewer_credits(paid: int, more: int) -> None:
    """Nor does what was bought cost more than was paid, at the discount that its size has."""
    bought = bought_for(paid)
    assert bought_for(paid + more) >= bought >= paid
    size = bought // NANOS_PER_CREDIT
    percent = 90 if size >= 100_000 else 95 if size >= 10_000 else 100
    assert bought * percent <= paid * 100 < (bought + 1) * percent + 100


@pytest.mark.parametrize(("usd", "credits"), [(5, 500), (94, 9_400), (95, 10_000), (100, 10_526), (900, 100_000)])
def test_discounts_begin_at_ten_and_at_a_hundred_thousand(usd: int, credits: int) -> None:
    """5% and 10%; 500 credits are exactly 5 USD."""
    assert bought_for(usd * 10**9) // NANOS_PER_CREDIT == credits
