"""A price is taken only as it was agreed: every deviation has its own refusal, before anything is signed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hire_offers import PAYEE, TOKEN, USDC, accepts, required, version_1
from hypothesis import given
from hypothesis import strategies as st

from agentnode.hire.cards import AgentCards
from agentnode.hire.errors import (
    AssetMismatch,
    HireRefused,
    NetworkMismatch,
    OfferUnpayable,
    PayeeMismatch,
    PriceAboveMax,
    SellerUnreachable,
)
from agentnode.hire.quote import check_quote, cost_usd_nanos, read_quote, whole_numbers
from agentnode.hire.request import HireRequest, ListedTerms
from agentnode.hire.seller import check_size
from ledger.errors import InvalidInput
from ledger.money import Asset
from trust.web import Reply


def test_a_price_is_read_from_both_versions() -> None:
    for asked in (required(), version_1()):
        quote = read_quote(asked, USDC)
        assert (quote.amount_atomic, quote.cost_usd_nanos, quote.pay_to) == (10_000, 10_000_000, PAYEE.lower())


def test_the_entry_that_we_can_pay_is_found_among_others() -> None:
    others = [accepts(scheme="upto"), accepts(network="eip155:1"), accepts(asset=PAYEE)]
    assert read_quote(required(*others, accepts(amount="7")), USDC).amount_atomic == 7


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (None, OfferUnpayable),
        ({"accepts": [accepts()]}, OfferUnpayable),
        ({"x402Version": 3, "accepts": [accepts()]}, OfferUnpayable),
        ({"x402Version": 2, "accepts": "all"}, OfferUnpayable),
        (required(accepts(scheme="upto")), OfferUnpayable),
        (required(accepts(extra={"assetTransferMethod": "permit2"})), OfferUnpayable),
        (required(accepts(network="eip155:8453")), NetworkMismatch),
        (required(accepts(network="base-sepolia")), NetworkMismatch),
        (required(accepts(asset=PAYEE)), AssetMismatch),
        (required(accepts(amount="0")), OfferUnpayable),
        (required(accepts(amount="-5")), OfferUnpayable),
        (required(accepts(amount=10_000)), OfferUnpayable),
        (required(accepts(amount="1e4")), OfferUnpayable),
        (required(accepts(payTo="seller")), OfferUnpayable),
        (required(accepts(payTo="0x" + "0" * 40)), OfferUnpayable),
        (required(accepts(maxTimeoutSeconds=0)), OfferUnpayable),
        (required(accepts(maxTimeoutSeconds="soon")), OfferUnpayable),
    ],
)
def test_what_cannot_be_paid_is_refused_by_name(asked: Any, refusal: type[HireRefused]) -> None:
    with pytest.raises(refusal):
        read_quote(asked, USDC)


@pytest.mark.parametrize(
    ("terms", "max_usd_nanos", "refusal"),
    [
        ({}, 9_999_999, PriceAboveMax),
        ({"pay_to": TOKEN}, 10_000_000, PayeeMismatch),
        ({"network": "eip155:8453"}, 10_000_000, NetworkMismatch),
        ({"asset": PAYEE}, 10_000_000, AssetMismatch),
    ],
)
def test_what_differs_from_the_agreement_is_refused_by_name(
    terms: dict[str, Any], max_usd_nanos: int, refusal: type[HireRefused]
) -> None:
    agreed = ListedTerms("baz_1", "https://seller.example/", **terms)
    with pytest.raises(refusal):
        check_quote(read_quote(required(), USDC), agreed, USDC, max_usd_nanos)


def test_what_was_agreed_is_accepted_in_any_case_of_address() -> None:
    agreed = ListedTerms(
        "baz_1", "https://seller.example/", None, None, PAYEE.lower(), "eip155:31337", TOKEN.upper()[2:]
    )
    with pytest.raises(AssetMismatch):
        check_quote(read_quote(required(), USDC), agreed, USDC, 10_000_000)
    agreed = ListedTerms("baz_1", "https://seller.example/", None, None, PAYEE, "eip155:31337", TOKEN.lower())
    check_quote(read_quote(required(), USDC), agreed, USDC, 10_000_000)


@given(st.integers(1, 10**30), st.sampled_from([2, 6, 9, 18]), st.sampled_from([10**9, 999_999_937, 1_080_000_000]))
def test_a_budget_is_never_charged_less_than_what_leaves_the_wallet(amount: int, decimals: int, rate: int) -> None:
    asset = Asset("eip155:1", TOKEN, "T", "1", decimals, rate)
    cost = cost_usd_nanos(asset, amount)
    assert cost * 10**decimals >= amount * rate
    assert (cost - 1) * 10**decimals < amount * rate


@given(
    st.recursive(
        st.integers(-(2**50), 2**50) | st.text(max_size=5) | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )
)
def test_numbers_that_the_wire_made_floats_come_back_whole(value: Any) -> None:
    def as_struct(member: Any) -> Any:
        if isinstance(member, dict):
            return {key: as_struct(inner) for key, inner in member.items()}
        if isinstance(member, list):
            return [as_struct(inner) for inner in member]
        return float(member) if isinstance(member, int) and not isinstance(member, bool) else member

    assert repr(whole_numbers(as_struct(value))) == repr(value)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"resource_id": "baz_1"}, "message"),
        ({"resource_id": "baz_1", "message": "  "}, "message"),
        ({"resource_id": "baz_1", "message": {"parts": []}}, "message"),
        ({"message": "work"}, "resource_id"),
        ({"message": "work", "capability": "translate"}, "resource_id"),
        ({"message": "work", "resource_id": "baz_1", "agent_card_url": "https://a/"}, "resource_id"),
        ({"message": "work", "resource_id": "baz_1", "max_price": "NaN"}, "max_price"),
        ({"message": "work", "resource_id": 5}, "resource_id"),
        ({"message": "work", "resource_id": "\0"}, "resource_id"),
        ({"message": "half \ud800", "resource_id": "baz_1"}, "message"),
        ({"http": {"url": "http://\ud800.example"}}, "url"),
        ({"http": {"url": "http://x.example", "json": {"a": float("nan")}}}, "http.json"),
        ({"http": {"url": "http://x.example", "json": ["\ud800"]}}, "http.json"),
        ({"message": "work", "listing": {"id": "baz_1"}}, "listing"),
        ({"message": "work", "listing": "baz_1"}, "listing"),
    ],
)
def test_a_wrong_request_is_refused_by_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        HireRequest.parse(body)
    assert refused.value.param == param


def test_a_message_is_a_text_or_an_a2a_message_in_any_spelling() -> None:
    for parts in ([{"text": "a"}, {"text": "b"}], [{"kind": "text", "text": "a"}, {"type": "text", "text": "b"}]):
        assert HireRequest.parse({"message": {"parts": parts}, "resource_id": "baz_1"}).message == "a\nb"
    assert HireRequest.parse({"message": "a", "resource_id": "baz_1"}).message == "a"


def test_the_most_that_is_paid_is_what_the_caller_said_else_what_the_listing_says() -> None:
    quote = read_quote(required(), USDC)
    dearer = ListedTerms("baz_1", "https://a/", price_usd_nanos=20_000_000)
    with pytest.raises(PriceAboveMax):
        check_quote(quote, dearer, USDC, 9_999_999)
    check_quote(quote, dearer, USDC, None)
    with pytest.raises(PriceAboveMax):
        check_quote(quote, ListedTerms("baz_1", "https://a/", price_usd_nanos=9_999_000), USDC, None)
    with pytest.raises(InvalidInput):
        check_quote(quote, ListedTerms(None, "https://a/"), USDC, None)


def test_a_listed_price_below_the_smallest_unit_of_the_token_is_paid_with_one_unit() -> None:
    one = read_quote(required(accepts(amount="1")), USDC)
    check_quote(one, ListedTerms("baz_1", "https://a/", price_usd_nanos=1), USDC, None)
    with pytest.raises(PriceAboveMax):
        check_quote(one, ListedTerms("baz_1", "https://a/", price_usd_nanos=0), USDC, None)
    with pytest.raises(PriceAboveMax):
        check_quote(one, ListedTerms("baz_1", "https://a/", price_usd_nanos=1), USDC, 999)


async def test_what_has_endless_values_is_not_read() -> None:
    """The SDK makes an object of each, and the node would stand still: neither an answer nor a card."""
    endless = b"[" + b"1," * 100_000 + b"1]"
    with pytest.raises(SellerUnreachable, match="values"):
        await check_size(httpx.Response(200, content=endless))
    await check_size(httpx.Response(200, content=b'"' + b"," * 200_000 + b'"'))

    class Web:
        async def get(self, url: str, headers: Any) -> Reply:
            return Reply(200, httpx.Headers(), b'{"skills":' + endless + b"}", url)

    with pytest.raises(SellerUnreachable, match="values"):
        await AgentCards(Web()).read("https://seller.example/")  # type: ignore[arg-type]
