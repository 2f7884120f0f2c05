"""A seller's card is what it signed, or nobody is hired: before the seller hears of it and before any signature."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hire_world import BuyerNode, SellerProcess, Wallet, buyer_node, open_day
from joserfc.jwk import ECKey

from agentnode.hire import CardKeys, CardKeyUnknown, CardSignatureWrong, CardUnsigned, HireRefused, HireRequest
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.money import Asset
from trust.signatures import didkey
from trust.web import GuardedClient

STRANGER = didkey.encode(ECKey.generate_key("P-256").get_op_key("verify"))


def work(seller: SellerProcess, card: str = "", skill: str = "ask", **more: Any) -> HireRequest:
    place = f"{seller.url}/cards/{card}.json" if card else seller.card_url
    asked = {"agent_card_url": place, "message": "the work", "skill": skill, "max_price": "0.05"}
    return HireRequest.parse({**asked, **more})


def followed(seller: SellerProcess) -> list[str]:
    """Which keys were fetched that a signature points to."""
    return list(httpx.get(f"{seller.url}/followed", verify=False).json())


def did_of(seller: SellerProcess) -> str:
    kid: str = httpx.get(f"{seller.url}/.well-known/jwks.json", verify=False).json()["keys"][0]["kid"]
    return kid.partition("#")[0]


async def refused(node: BuyerNode, seller: SellerProcess, wanted: HireRequest, refusal: type[HireRefused]) -> None:
    """With nothing sent and nothing held."""
    before = (await day(node), len(seller.payloads()))
    with pytest.raises(refusal):
        await node.buyer.hire("t", wanted)
    assert (await day(node), len(seller.payloads())) == before


async def day(node: BuyerNode) -> tuple[int, int]:
    budget = await node.spend.budget(await open_day(node.spend))
    assert budget is not None
    return budget.spent_usd_nanos, budget.held_usd_nanos


@pytest.mark.database
@pytest.mark.parametrize("card", ["good", "dual"])
async def test_a_card_that_its_host_has_signed_is_hired_and_the_call_says_so(
    node: BuyerNode, seller: SellerProcess, card: str
) -> None:
    """With fields of 0.3 beside what is signed, too; and asked later, the call says it again."""
    result = await node.buyer.hire("t", work(seller, card))
    assert result["status"] == "completed"
    assert (result["card"]["key_from"], result["card"]["signed_by"].partition("#")[0]) == ("domain", did_of(seller))
    assert (await node.buyer.call("t", result["call_id"]))["card"] == result["card"]


async def test_a_card_without_a_signature_is_hired_where_no_key_is_pinned(
    node: BuyerNode, seller: SellerProcess
) -> None:
    """Of free work it is said, too."""
    for skill in ("ask", "echo"):
        card = (await node.buyer.hire("t", work(seller, skill=skill)))["card"]
        assert (card["signed_by"], card["key_from"], len(card["sha256"])) == (None, None, 64)


@pytest.mark.parametrize("card", ["changed", "other-key", "jku"])
async def test_a_card_with_a_wrong_signature_is_not_hired(node: BuyerNode, seller: SellerProcess, card: str) -> None:
    """Another price, another's key under the seller's key id, and a key that the signature itself points to: which
    nobody fetches."""
    await refused(node, seller, work(seller, card), CardSignatureWrong)
    assert followed(seller) == []


async def test_a_pinned_key_is_demanded(node: BuyerNode, seller: SellerProcess) -> None:
    """The caller's: a signature by another key, and a signature that was stripped, are refused."""
    own = did_of(seller)
    result = await node.buyer.hire("t", work(seller, "good", card_key=own))
    assert (result["card"]["key_from"], result["card"]["signed_by"]) == ("pinned", own)
    assert (await node.buyer.call("t", result["call_id"]))["task"]["text"] == "the work"
    await refused(node, seller, work(seller, "good", card_key=STRANGER), CardSignatureWrong)
    await refused(node, seller, work(seller, "changed", card_key=own), CardSignatureWrong)
    await refused(node, seller, work(seller, card_key=own), CardUnsigned)


async def test_the_operators_key_is_demanded_too(
    database: Database, chain_url: str, asset: Asset, wallet: Wallet, seller: SellerProcess
) -> None:
    """By the seller's origin; a caller's own key does not take its place."""
    pins = {seller.url: STRANGER}
    async with buyer_node(database, chain_url, asset, wallet, card_keys=pins) as node:
        await refused(node, seller, work(seller, "good"), CardSignatureWrong)
        await refused(node, seller, work(seller, "good", card_key=did_of(seller)), CardSignatureWrong)
        await refused(node, seller, work(seller), CardUnsigned)


async def test_keys_come_over_https_only(
    database: Database, chain_url: str, asset: Asset, wallet: Wallet, seller: SellerProcess
) -> None:
    """Off the embedded chain a key that came by plain http proves nothing; a pinned one does."""
    async with buyer_node(database, chain_url, asset, wallet, on_embedded_chain=False) as node:
        await refused(node, seller, work(seller, "good"), CardKeyUnknown)
        assert (await node.buyer.hire("t", work(seller, "good", card_key=did_of(seller))))["status"] == "completed"


@pytest.mark.parametrize("spelled", ["https://seller.bücher.example:443", "https://SELLER.xn--bcher-kva.example:0443"])
async def test_a_pin_holds_however_its_origin_is_spelled(spelled: str) -> None:
    """A listing's URL is its seller's to write."""
    pinned = {"https://seller.bücher.example/": STRANGER}
    with pytest.raises(CardUnsigned):
        await CardKeys(GuardedClient(), pinned).check({"name": "seller"}, f"{spelled}/card.json")


@pytest.mark.parametrize(
    "key", ["did:key:z6Mk", 7, {}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC"}, [], "x" * 9_000]
)
def test_a_key_that_is_none_is_refused_by_name(seller: SellerProcess, key: Any) -> None:
    with pytest.raises(InvalidInput, match="card_key"):
        work(seller, card_key=key)
