"""A mandate read from JSON: each wrong field is named, nothing is dropped, and its digest is the published one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from mandates import UseRequest
from mandates.constraints import Constraints, read_constraints
from mandates.terms import read_draft
from tests.mandates.world import AGENT, CHAIN_ID, GRANTOR, PAYEE, did
from trust.signatures import eip712

CONSTRAINTS: dict[str, Any] = {"max_amount_usd": 10, "valid_until": 1_800_000_000}
MANDATE: dict[str, Any] = {
    "type": "intent",
    "user_did": did(GRANTOR),
    "agent_did": did(AGENT),
    "constraints": CONSTRAINTS,
}
AUTHORITY = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"

VECTOR = json.loads((Path(__file__).parent / "vectors" / "mandate.json").read_text())


def test_the_published_vector_is_what_the_node_makes() -> None:
    """Key, mandate as JSON, typed data, digest and signature stay byte for byte what the docs say, in every version."""
    from eth_account import Account

    draft = read_draft({"mandate": VECTOR["mandate"]})
    assert draft.is_complete
    typed_data = draft.completed("", 0, "", 0).typed_data()
    hashed = hashlib.sha256(VECTOR["other_constraints"].encode()).hexdigest()
    assert typed_data["message"]["constraintsHash"] == "0x" + hashed
    assert typed_data == VECTOR["typed_data"]
    assert "0x" + eip712.digest(typed_data).hex() == VECTOR["digest"]
    account = Account.from_key(VECTOR["private_key"])
    assert eip712.sign(typed_data, account) == VECTOR["signature"]
    assert eip712.recover(typed_data, VECTOR["signature"]) == VECTOR["address"]


def test_a_mandate_without_other_constraints_hashes_none() -> None:
    """constraintsHash is zero where every constraint has a member of its own."""
    terms = read_draft({"mandate": MANDATE}).completed(AUTHORITY, CHAIN_ID, "0x" + "00" * 32, 1)
    assert terms.typed_data()["message"]["constraintsHash"] == "0x" + "00" * 32


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"type": "gift"}, "mandate.type"),
        ({"type": None}, "mandate.type"),
        ({"user_did": None}, "mandate.user_did"),
        ({"user_did": "0x" + "11" * 20}, "mandate.user_did"),
        ({"user_did": "did:key:zDnae"}, "mandate.user_did"),
        ({"agent_did": "agent"}, "mandate.agent_did"),
        ({"agent_did": "did:pkh:eip155:1:0x11"}, "mandate.agent_did"),
        ({"nonce": "0x11"}, "mandate.nonce"),
        ({"chain_id": True}, "mandate.chain_id"),
        ({"constraints": None}, "mandate.constraints"),
        ({"limits": {}}, "mandate.limits"),
        ({"status": "active"}, "mandate.status"),
    ],
)
def test_a_wrong_member_of_a_mandate_is_named(changed: dict[str, Any], param: str) -> None:
    """INVALID_INPUT with the field; members that are not understood are refused, not dropped."""
    with pytest.raises(InvalidInput) as refused:
        read_draft({"mandate": MANDATE | changed})
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("kind", "changed", "param"),
    [
        ("intent", {"max_amount_usd": None}, "max_amount_usd"),
        ("intent", {"max_amount_usd": 0}, "max_amount_usd"),
        ("intent", {"max_amount_usd": -1}, "max_amount_usd"),
        ("intent", {"max_amount_usd": True}, "max_amount_usd"),
        ("intent", {"max_amount_usd": "1.0000000001"}, "max_amount_usd"),
        ("intent", {"max_amount_usd": float("nan")}, "max_amount_usd"),
        ("intent", {"max_amount_usd": "1e400"}, "max_amount_usd"),
        ("intent", {"max_amount_usd": 10, "max_amount_usd_exact": "11"}, "max_amount_usd"),
        ("intent", {"valid_until": None}, "valid_until"),
        ("intent", {"valid_until": "2027-01-01T00:00:00"}, "valid_until"),
        ("intent", {"valid_until": "tomorrow"}, "valid_until"),
        ("intent", {"valid_until": 1.8e9}, "valid_until"),
        ("intent", {"valid_until": -1}, "valid_until"),
        ("intent", {"valid_until": 10**18}, "valid_until"),
        ("intent", {"allowed_categories": "search"}, "allowed_categories"),
        ("intent", {"allowed_categories": [1]}, "allowed_categories[0]"),
        ("intent", {"allowed_categories": ["a\x00"]}, "allowed_categories[0]"),
        ("intent", {"allowed_payees": ["\ud800"]}, "allowed_payees[0]"),
        ("intent", {"max_per_use_usd": 0}, "max_per_use_usd"),
        ("intent", {"max_uses": 0}, "max_uses"),
        ("intent", {"max_uses": 2.0}, "max_uses"),
        ("intent", {"max_uses": True}, "max_uses"),
        ("payment", {"max_uses": 2}, "max_uses"),
        ("intent", {"items": [{"id": "a", "amount_usd": 1}]}, "items"),
        ("cart", {}, "items"),
        ("cart", {"items": []}, "items"),
        ("cart", {"items": [{"id": "a"}]}, "items[0].amount_usd"),
        ("cart", {"items": [{"id": "a", "amount_usd": 1, "name": "Tea"}]}, "items[0].name"),
        ("cart", {"items": [{"id": "a", "amount_usd": 1}, {"id": "a", "amount_usd": 2}]}, "items"),
        ("cart", {"items": [{"id": "a", "amount_usd": 6}, {"id": "b", "amount_usd": 5}]}, "items"),
        ("cart", {"items": [{"id": str(n), "amount_usd": 0.01} for n in range(101)]}, "items"),
        ("cart", {"items": {"id": "a", "amount_usd": 1}}, "items"),
        ("intent", {"max_per_day_usd": 1}, "max_per_day_usd"),
        ("intent", {"currency": "EUR"}, "currency"),
    ],
)
def test_a_wrong_constraint_is_named_and_an_unknown_one_refused(kind: Any, changed: dict[str, Any], param: str) -> None:
    """INVALID_INPUT with the field: a constraint that is not understood cannot be kept, so it is never ignored."""
    with pytest.raises(InvalidInput) as refused:
        read_constraints(kind, CONSTRAINTS | changed)
    assert refused.value.param == f"mandate.constraints.{param}"


def test_a_cart_may_hold_all_that_is_granted_and_a_hundred_items() -> None:
    """What is at the bound is within it."""
    cart = [{"id": str(n), "amount_usd": 0.1} for n in range(100)]
    assert len(read_constraints("cart", CONSTRAINTS | {"max_amount_usd": 10, "items": cart}).items) == 100


def test_valid_from_must_come_before_valid_until() -> None:
    """An empty span of time is refused when the mandate is completed."""
    draft = read_draft({"mandate": MANDATE | {"constraints": CONSTRAINTS | {"valid_from": 1_800_000_000}}})
    with pytest.raises(InvalidInput, match="valid_until"):
        draft.completed(AUTHORITY, CHAIN_ID, "0x" + "00" * 32, 0)


def test_parts_of_a_second_make_a_mandate_shorter_never_longer() -> None:
    """JavaScript's dates have milliseconds: valid_from is rounded up, valid_until down."""
    times = {"valid_from": "2026-01-01T00:00:00.001Z", "valid_until": "2026-01-02T00:00:00.999Z"}
    constraints = read_constraints("intent", CONSTRAINTS | times)
    assert (constraints.valid_from_s, constraints.valid_until_s) == (1_767_225_601, 1_767_312_000)


amounts = st.integers(1, 4 * 10**18)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
constraint_sets = st.builds(
    Constraints,
    max_amount_usd_nanos=amounts,
    valid_until_s=st.integers(2, 253_402_300_799),
    valid_from_s=st.just(1),
    categories=st.lists(names, max_size=3).map(tuple),
    payees=st.lists(names | st.just(PAYEE.lower()), max_size=3).map(tuple),
    max_per_use_usd_nanos=st.none() | amounts,
    max_uses=st.none() | st.integers(1, 10**9),
)


@given(constraint_sets)
def test_constraints_survive_being_shown_and_stored(constraints: Constraints) -> None:
    """What is shown, sent back as JSON and read again is the same; so is what is stored: no amount is rounded."""
    shown = json.loads(json.dumps(constraints.shown()))
    assert read_constraints("intent", shown) == constraints
    assert Constraints.from_json(json.loads(json.dumps(constraints.as_json()))) == constraints


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"amount_usd": 0}, "use.amount_usd"),
        ({"amount_usd": None}, "use.amount_usd"),
        ({"amount_usd": "0.0000000001"}, "use.amount_usd"),
        ({"use_id": "../x"}, "use.use_id"),
        ({"payee": ""}, "use.payee"),
        ({"category": 1}, "use.category"),
        ({"agent_did": "agent"}, "use.agent_did"),
        ({"expires_at": "soon"}, "use.expires_at"),
        ({"paye": "x"}, "use.paye"),
    ],
)
def test_a_wrong_member_of_a_use_is_named(changed: dict[str, Any], param: str) -> None:
    """INVALID_INPUT with the field; a misspelt member is not taken for an absent one."""
    with pytest.raises(InvalidInput) as refused:
        UseRequest.parse({"amount_usd": 1} | changed)
    assert refused.value.param == param
