"""What a seller signed is believed where a key of its own origin signed it, and then it is held to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hire_world import LOOPBACK

from agentnode.hire import OfferUnpayable
from agentnode.hire.quote import Quote, read_quote
from agentnode.hire.signed_terms import checked_offer
from ledger.money import NANOS_PER_USD, Asset
from tests.answering import answering
from tests.node_keys import node_keys
from trust.keys import NodeKeys
from trust.web import GuardedClient

ASSET = Asset("eip155:31337", "0x420DC2698a09E135F8EE0096f50B083f2Fe50E07", "USD Coin", "2", 6, NANOS_PER_USD)
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@pytest.fixture(scope="module")
def keys() -> NodeKeys:
    return node_keys()


@pytest.fixture(scope="module")
def url(keys: NodeKeys) -> Iterator[str]:
    """A resource whose origin publishes the seller's keys."""
    with answering(lambda path, body: (200, keys.jwks())) as origin:
        yield f"{origin}/report"


def required(url: str, signer: NodeKeys, **other: Any) -> dict[str, Any]:
    """A 402's object with one offer, of which `other` says something else than is asked."""
    terms = {"scheme": "exact", "network": ASSET.network, "asset": ASSET.address, "payTo": PAYEE, "amount": "10000"}
    payload = {"version": 1, "resourceUrl": url, **terms, **other}
    offer = {"format": "jws", "signature": signer.sign(payload, "x402-offer+jws")}
    return {
        "x402Version": 2,
        "resource": {"url": url},
        "accepts": [{**terms, "maxTimeoutSeconds": 60, "extra": {"name": "USD Coin", "version": "2"}}],
        "extensions": {"offer-receipt": {"info": {"offers": [{"format": "eip712"}, 7, offer]}}},
    }


async def kept(asked: dict[str, Any], url: str) -> str:
    quote: Quote = read_quote(asked, ASSET)
    web = GuardedClient(LOOPBACK)
    try:
        return await checked_offer(asked, quote, url, ASSET.network, web)
    finally:
        await web.aclose()


async def test_the_sellers_own_offer_of_this_price_is_kept(url: str, keys: NodeKeys) -> None:
    asked = required(url, keys)
    assert json.loads(await kept(asked, url)) == asked["extensions"]["offer-receipt"]["info"]["offers"][2]


async def test_a_seller_that_asks_another_price_than_it_signed_is_not_paid(url: str, keys: NodeKeys) -> None:
    with pytest.raises(OfferUnpayable):
        await kept(required(url, keys, amount="9000"), url)


@pytest.mark.parametrize(
    "other",
    [{"resourceUrl": "http://x.example"}, {"payTo": ASSET.address}, {"network": "eip155:1"}, {"version": 2}],
    ids=lambda other: next(iter(other)),
)
async def test_an_offer_of_something_else_is_no_proof(url: str, keys: NodeKeys, other: dict[str, Any]) -> None:
    assert await kept(required(url, keys, **other), url) == ""


async def test_what_a_stranger_signed_is_neither_proof_nor_reason_to_refuse(url: str) -> None:
    stranger = node_keys("stranger")
    assert await kept(required(url, stranger), url) == ""
    assert await kept(required(url, stranger, amount="9000"), url) == ""
