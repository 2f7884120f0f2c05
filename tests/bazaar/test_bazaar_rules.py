"""A listing's rules: each one broken alone is named, with its field and what was seen."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bazaar.card import CardFacts, facts
from bazaar.listing import card_url, examine

PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BODY: dict[str, Any] = {
    "endpoint": "https://seller.example/api/a2a",
    "name": "Extractor",
    "description": "Extracts the central sentences.",
    "price_per_call_usd": "0.01",
    "capabilities": ["summarise"],
    "pay_to": PAYEE,
}
CARD = CardFacts("Seller", "Sells.", ("https://seller.example/api/a2a",), ("echo", "ask"), ("text",))


def test_a_sound_listing_passes_every_rule_and_keeps_its_price_in_nanos() -> None:
    checks, draft = examine(BODY, None)
    assert draft is not None
    assert all(check.ok for check in checks)
    assert draft.price_per_call_usd_nanos == 10_000_000
    assert draft.pay_to == PAYEE.lower()


@pytest.mark.parametrize(
    ("change", "rule", "field"),
    [
        ({"type": "oracle"}, "type_known", "type"),
        ({"endpoint": None}, "endpoint_given", "endpoint"),
        ({"endpoint": 7}, "url_is_text", "endpoint"),
        ({"endpoint": "ftp://seller.example/"}, "url_is_http", "endpoint"),
        ({"endpoint": "https://"}, "url_is_http", "endpoint"),
        ({"endpoint": "https://seller.example:99999/"}, "url_is_http", "endpoint"),
        ({"endpoint": "https://sel\u200bler.example/"}, "url_is_http", "endpoint"),
        ({"endpoint": "https://good.example\\@bad.example/"}, "url_is_http", "endpoint"),
        ({"endpoint": "https://user:word@seller.example/"}, "url_has_no_userinfo_or_fragment", "endpoint"),
        ({"endpoint": "https://seller.example/#x"}, "url_has_no_userinfo_or_fragment", "endpoint"),
        ({"name": 5}, "name_is_text", "name"),
        ({"name": "   "}, "name_given", "name"),
        ({"name": "n" * 121}, "name_length", "name"),
        ({"name": "invoice\u202efdp"}, "name_has_no_hidden_characters", "name"),
        ({"description": ["x"]}, "description_is_text", "description"),
        ({"description": "d" * 2_001}, "description_length", "description"),
        ({"description": "a\x1b[2J"}, "description_has_no_hidden_characters", "description"),
        ({"skill": "s" * 65}, "skill_is_text", "skill"),
        ({"skill": "a\x1b[2J"}, "skill_has_no_hidden_characters", "skill"),
        ({"price_per_call_usd": None}, "price_is_usd", "price_per_call_usd"),
        ({"price_per_call_usd": "NaN"}, "price_is_usd", "price_per_call_usd"),
        ({"price_per_call_usd": -1}, "price_is_usd", "price_per_call_usd"),
        ({"price_per_call_usd": "0.0000000001"}, "price_is_usd", "price_per_call_usd"),
        ({"currency": "EUR"}, "currency_is_usd", "currency"),
        ({"pay_to": None}, "payee_given_where_priced", "pay_to"),
        ({"pay_to": "0x123"}, "payee_is_address", "pay_to"),
        ({"pay_to": "0x" + "0" * 40}, "payee_is_address", "pay_to"),
        ({"network": "base"}, "network_is_caip2", "network"),
        ({"asset": "USDC"}, "asset_is_address", "asset"),
        ({"capabilities": "summarise"}, "capabilities_is_list", "capabilities"),
        ({"capabilities": ["summarise", "x y"]}, "capabilities_are_labels", "capabilities"),
        ({"tags": [1]}, "tags_are_labels", "tags"),
    ],
)
def test_each_broken_rule_is_named_alone(change: dict[str, Any], rule: str, field: str) -> None:
    checks, draft = examine({**BODY, **change}, None)
    assert draft is None
    assert [(check.rule, check.field) for check in checks if check.refuses] == [(rule, field)]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"endpoint": "https://elsewhere.example/"}, "endpoint_in_card"),
        ({"skill": "transcribe"}, "skill_in_card"),
    ],
)
def test_a_card_that_does_not_say_so_refuses(change: dict[str, Any], rule: str) -> None:
    body = {**BODY, "agent_card_url": "https://seller.example/card.json", **change}
    checks, draft = examine(body, CARD)
    assert draft is None
    assert [check.rule for check in checks if check.refuses] == [rule]


def test_an_unknown_field_warns_and_does_not_refuse() -> None:
    checks, draft = examine({**BODY, "prize": 1}, None)
    assert draft is not None
    assert [(check.rule, check.severity) for check in checks if not check.ok] == [("fields_known", "warning")]
    assert all(check.field.isprintable() for check in examine({**BODY, "\ud800": 1}, None)[0])


def test_name_skills_and_endpoint_come_from_the_card_where_the_body_has_none() -> None:
    body = {"agent_card_url": "https://seller.example/card.json", "price_per_call_usd": 0}
    _, draft = examine(body, CARD)
    assert draft is not None
    assert (draft.type, draft.name, draft.endpoint) == ("agent", "Seller", "https://seller.example/api/a2a")
    assert draft.capabilities == ["echo", "ask"]
    assert draft.tags == ["text"]


def test_both_generations_of_cards_are_read_and_json_rpc_comes_first() -> None:
    old = {"name": "N", "url": "https://a/", "preferredTransport": "JSONRPC", "skills": [{"id": "s", "tags": ["t"]}]}
    new = {
        "name": "N",
        "supportedInterfaces": [
            {"url": "https://rest/", "protocolBinding": "HTTP+JSON"},
            {"url": "https://a/", "protocolBinding": "JSONRPC"},
        ],
    }
    assert facts(old).endpoints == ("https://a/",)
    assert facts(old).skills == ("s",)
    assert facts(new).endpoints == ("https://a/", "https://rest/")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(sorted({*BODY, "type", "agent_card_url", "tags", "network"})), ANYTHING), ANYTHING
)
def test_no_body_and_no_card_make_the_rules_fail(change: dict[str, Any], card: Any) -> None:
    """Whatever is sent, there is a verdict; a draft exists exactly where nothing refuses."""
    card_url(change)
    read = facts(card) if isinstance(card, dict) else None
    checks, draft = examine({**BODY, **change}, read)
    assert (draft is None) == any(check.refuses for check in checks)
    assert all(len(check.seen) <= 80 and check.seen.isprintable() for check in checks)


@given(st.text(alphabet=string.printable, max_size=60))
def test_price_and_payee_never_come_from_a_text(text: str) -> None:
    """What a description says changes no verified field."""
    hostile = f"{text} price_per_call_usd: 0, pay_to: 0x{'9' * 40}"
    _, plain = examine(BODY, None)
    _, attacked = examine(
        {**BODY, "description": hostile.replace("\x0b", "").replace("\x0c", "").replace("\r", "")}, None
    )
    assert plain is not None and attacked is not None
    assert (attacked.price_per_call_usd_nanos, attacked.pay_to) == (plain.price_per_call_usd_nanos, plain.pay_to)
