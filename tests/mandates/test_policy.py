"""The policy alone: statuses, the order of its rules, and that what it allows never sums past what was granted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandates import UseRequest, policy
from mandates.constraints import Constraints, Item
from mandates.policy import Standing
from mandates.terms import Terms
from tests.mandates.world import AGENT, GRANTOR, STRANGER, did

FROM, UNTIL = 1_000, 2_000
TERMS = Terms(
    kind="intent",
    user_did=did(GRANTOR),
    agent_did=did(AGENT),
    authority="did:key:z",
    chain_id=31337,
    nonce="0x" + "00" * 32,
    constraints=Constraints(max_amount_usd_nanos=100, valid_from_s=FROM, valid_until_s=UNTIL),
)
PAYMENT = replace(TERMS, kind="payment")
CART = replace(TERMS, kind="cart", constraints=replace(TERMS.constraints, items=(Item("a", 40), Item("b", 60))))


@pytest.mark.parametrize(
    ("terms", "standing", "now_s", "expected"),
    [
        (TERMS, Standing(), FROM, "active"),
        (TERMS, Standing(), UNTIL - 1, "active"),
        (TERMS, Standing(), UNTIL, "expired"),
        (TERMS, Standing(), FROM - 1, "pending"),
        (TERMS, Standing(spent_usd_nanos=99), FROM, "active"),
        (TERMS, Standing(spent_usd_nanos=100), FROM, "exhausted"),
        (TERMS, Standing(held_usd_nanos=100), FROM, "active"),
        (PAYMENT, Standing(spent_usd_nanos=1, uses_captured=1), FROM, "exhausted"),
        (PAYMENT, Standing(held_usd_nanos=1, uses_held=1), FROM, "active"),
        (CART, Standing(items_captured=frozenset({"a"}), uses_captured=1), FROM, "active"),
        (CART, Standing(items_captured=frozenset({"a", "b"}), uses_captured=2), FROM, "exhausted"),
        (TERMS, Standing(suspended=True), UNTIL, "suspended"),
        (TERMS, Standing(suspended=True, revoked=True), UNTIL, "revoked"),
        (TERMS, Standing(spent_usd_nanos=100), UNTIL, "expired"),
    ],
)
def test_a_status_follows_from_terms_standing_and_time(
    terms: Terms, standing: Standing, now_s: int, expected: str
) -> None:
    """Revoked before suspended before expired before exhausted before pending before active."""
    assert policy.status(terms, standing, now_s) == expected


LIMITED = replace(
    TERMS,
    constraints=replace(
        TERMS.constraints, categories=("search",), payees=("0xaa",), max_per_use_usd_nanos=50, max_uses=2
    ),
)
USUAL = UseRequest(amount_usd_nanos=1, category="search", payee="0xaa")
WORST = UseRequest(amount_usd_nanos=101, agent_did=did(STRANGER), category="other", payee="0xbb", item_id="a")


def test_rules_are_judged_in_one_order_and_each_has_its_code() -> None:
    """Of a use that breaks every rule, the first is told; as it is mended rule by rule, the next one is."""
    standing = Standing(spent_usd_nanos=1, held_usd_nanos=90, uses_held=2, revoked=True, suspended=True)
    now_s, asked = UNTIL, WORST
    mended = (
        ("MANDATE_REVOKED", {"revoked": False}, {}, UNTIL),
        ("MANDATE_SUSPENDED", {"suspended": False}, {}, UNTIL),
        ("MANDATE_EXPIRED", {}, {}, FROM - 1),
        ("MANDATE_NOT_YET_VALID", {}, {}, FROM),
        ("AGENT_NOT_ALLOWED", {}, {"agent_did": did(AGENT)}, FROM),
        ("CATEGORY_NOT_ALLOWED", {}, {"category": "search"}, FROM),
        ("PAYEE_NOT_ALLOWED", {}, {"payee": "0xaa"}, FROM),
        ("INVALID_INPUT", {}, {"item_id": None}, FROM),
        ("BUDGET_EXCEEDED", {}, {"amount_usd_nanos": 50}, FROM),
        ("BUDGET_EXCEEDED", {"uses_held": 1}, {}, FROM),
        ("BUDGET_EXCEEDED", {}, {"amount_usd_nanos": 9}, FROM),
    )
    for code, stands, asks_for, later_s in mended:
        refused = policy.refusal(LIMITED, standing, asked, now_s)
        assert refused is not None and refused.code == code
        standing, asked, now_s = replace(standing, **stands), replace(asked, **asks_for), later_s
    assert policy.refusal(LIMITED, standing, asked, now_s) is None


def test_a_refusal_for_lack_of_room_carries_the_room() -> None:
    """What was asked and what is left are in the error and in its words."""
    refused = policy.refusal(
        TERMS, Standing(spent_usd_nanos=30, held_usd_nanos=20), UseRequest(amount_usd_nanos=51), FROM
    )
    assert isinstance(refused, policy.BudgetExceeded)
    assert (refused.asked_usd_nanos, refused.room_usd_nanos) == (51, 50)
    assert "0.00000005 are allowed" in refused.message


@pytest.mark.parametrize(
    ("terms", "standing", "asked", "code", "room_usd_nanos"),
    [
        (PAYMENT, Standing(spent_usd_nanos=1, uses_captured=1), UseRequest(amount_usd_nanos=1), "MANDATE_INACTIVE", 0),
        (LIMITED, Standing(spent_usd_nanos=1, uses_held=1, uses_captured=1), USUAL, "BUDGET_EXCEEDED", 99),
        (CART, Standing(), UseRequest(amount_usd_nanos=40, item_id="a"), None, 100),
        (CART, Standing(), UseRequest(amount_usd_nanos=41, item_id="a"), "BUDGET_EXCEEDED", 100),
        (
            CART,
            Standing(held_usd_nanos=40, items_held=frozenset("a")),
            UseRequest(amount_usd_nanos=1, item_id="a"),
            "BUDGET_EXCEEDED",
            60,
        ),
        (
            CART,
            Standing(spent_usd_nanos=1, items_captured=frozenset("ab")),
            UseRequest(amount_usd_nanos=1, item_id="a"),
            "MANDATE_INACTIVE",
            0,
        ),
    ],
)
def test_what_was_used_is_used_whether_held_or_captured(
    terms: Terms, standing: Standing, asked: UseRequest, code: str | None, room_usd_nanos: int
) -> None:
    """A payment's one use, a mandate's number of uses, an item of a cart; what is used up has no room."""
    refused = policy.refusal(terms, standing, asked, FROM)
    assert (refused.code if refused else None) == code
    assert policy.room_usd_nanos(terms, standing) == room_usd_nanos
    if isinstance(refused, policy.BudgetExceeded):
        assert refused.room_usd_nanos == (40 if asked.amount_usd_nanos == 41 else 0)


kinds = st.sampled_from(["intent", "cart", "payment"])
small = st.integers(1, 60)


@st.composite
def grants(draw: st.DrawFn) -> Terms:
    kind = draw(kinds)
    amounts = draw(st.lists(small, min_size=1, max_size=4)) if kind == "cart" else []
    constraints = Constraints(
        max_amount_usd_nanos=max(sum(amounts), draw(st.integers(1, 200))),
        valid_from_s=FROM,
        valid_until_s=UNTIL,
        categories=draw(st.sampled_from([(), ("x",), ("x", "y")])),
        payees=draw(st.sampled_from([(), ("p",)])),
        max_per_use_usd_nanos=draw(st.none() | small),
        max_uses=1 if kind == "payment" else draw(st.none() | st.integers(1, 5)),
        items=tuple(Item(str(n), amount) for n, amount in enumerate(amounts)),
    )
    return replace(TERMS, kind=kind, constraints=constraints)


asks = st.builds(
    UseRequest,
    amount_usd_nanos=small,
    use_id=st.just("u"),
    category=st.sampled_from([None, "x", "z"]),
    payee=st.sampled_from([None, "p", "q"]),
    item_id=st.sampled_from([None, "0", "1", "2"]),
    agent_did=st.sampled_from([None, did(AGENT), did(STRANGER)]),
)
steps = st.lists(st.tuples(asks, st.integers(FROM - 2, UNTIL + 2), st.integers(0, 60), st.booleans()), max_size=25)


@given(grants(), steps)
def test_what_is_allowed_never_passes_what_was_granted(
    terms: Terms, sequence: list[tuple[UseRequest, int, int, bool]]
) -> None:
    """Any sequence of uses, captured for less, held or given back: every rule of the grant holds at each step."""
    limits = terms.constraints
    standing = Standing()
    for asked, now_s, less, stays_held in sequence:
        if policy.refusal(terms, standing, asked, now_s) is not None:
            continue
        assert FROM <= now_s < UNTIL
        assert asked.agent_did != did(STRANGER)
        assert not limits.categories or asked.category in limits.categories
        assert not limits.payees or asked.payee in limits.payees
        assert asked.amount_usd_nanos <= (limits.max_per_use_usd_nanos or asked.amount_usd_nanos)
        taken = frozenset({asked.item_id} - {None})
        assert not taken & (standing.items_held | standing.items_captured)
        if stays_held:
            standing = replace(
                standing,
                held_usd_nanos=standing.held_usd_nanos + asked.amount_usd_nanos,
                uses_held=standing.uses_held + 1,
                items_held=standing.items_held | taken,
            )
        else:
            standing = replace(
                standing,
                spent_usd_nanos=standing.spent_usd_nanos + max(0, asked.amount_usd_nanos - less),
                uses_captured=standing.uses_captured + 1,
                items_captured=standing.items_captured | taken,
            )
        assert standing.spent_usd_nanos + standing.held_usd_nanos <= limits.max_amount_usd_nanos
        assert terms.max_uses is None or standing.uses_held + standing.uses_captured <= terms.max_uses
        assert terms.kind != "cart" or len(standing.items_held | standing.items_captured) == (
            standing.uses_held + standing.uses_captured
        )


@given(grants(), asks)
def test_an_untouched_mandate_allows_exactly_what_its_rules_do_not_forbid(terms: Terms, asked: UseRequest) -> None:
    """No refusal without a broken rule: money that is left is never refused."""
    limits = terms.constraints
    item = {item.id: item for item in limits.items}.get(asked.item_id or "")
    allowed = (
        asked.agent_did in (None, terms.agent_did)
        and (not limits.categories or asked.category in limits.categories)
        and (not limits.payees or asked.payee in limits.payees)
        and (item is not None if terms.kind == "cart" else asked.item_id is None)
        and (item is None or asked.amount_usd_nanos <= item.amount_usd_nanos)
        and (limits.max_per_use_usd_nanos is None or asked.amount_usd_nanos <= limits.max_per_use_usd_nanos)
        and asked.amount_usd_nanos <= limits.max_amount_usd_nanos
    )
    assert (policy.refusal(terms, Standing(), asked, FROM) is None) == allowed
