"""Hiring a seller in another process, with real payments on a real chain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hire_chain import settle
from hire_world import PAYEE, BuyerNode, SellerProcess, Wallet, buyer_node, open_day, start_seller
from sqlalchemy import text

from agentnode.devchain import CHAIN_ID
from agentnode.hire import (
    CallUnknown,
    HireRefused,
    HireRequest,
    NetworkMismatch,
    PayeeMismatch,
    PriceAboveMax,
    SellerUnreachable,
    WalletTooLow,
)
from ledger.database import Database
from ledger.errors import AgentNodeError, BudgetRefused
from ledger.events import Events
from ledger.money import Asset
from trust.chain import ChainView
from trust.chain_records import authorizations
from trust.errors import AddressRefused

PRICE = 10_000
PRICE_NANOS = 10_000_000


def work(seller: SellerProcess, skill: str, **more: Any) -> HireRequest:
    asked: dict[str, Any] = {
        "agent_card_url": seller.card_url,
        "message": "the work",
        "skill": skill,
        "max_price": "0.05",
    }
    return HireRequest.parse({**asked, **more})


async def day(node: BuyerNode) -> tuple[int, int]:
    """Spent and held of the tenant's day."""
    budget = await node.spend.budget(await open_day(node.spend))
    assert budget is not None
    return budget.spent_usd_nanos, budget.held_usd_nanos


async def test_free_work_is_done_without_money_and_leaves_one_event(node: BuyerNode, seller: SellerProcess) -> None:
    result = await node.buyer.hire("t", work(seller, "echo"))
    assert (result["status"], result["task"]["text"], result["payment"]) == ("completed", "the work", None)
    event = await Events(node.database).get(result["event_id"], "t")
    assert (event.kind, event.cost_usd_nanos) == ("hire", 0)
    assert await day(node) == (0, 0)


@pytest.mark.database
@pytest.mark.parametrize("skill", ["ask", "version-1"])
async def test_paid_work_moves_exactly_the_price_on_chain_and_in_the_ledger(
    node: BuyerNode, seller: SellerProcess, wallet: Wallet, asset: Asset, skill: str
) -> None:
    before = await balances(node, asset, wallet)
    result = await node.buyer.hire("t", work(seller, skill))
    after = await balances(node, asset, wallet)
    assert (result["status"], result["task"]["text"]) == ("completed", "the work")
    assert (before[0] - after[0], after[1] - before[1]) == (PRICE, PRICE)
    payment = result["payment"]
    assert (payment["status"], payment["evidence"], payment["amount_usd_exact"]) == ("settled", "chain", "0.01")
    receipt = await node.chain.receipt(payment["tx_hash"])
    assert receipt is not None and receipt.succeeded
    assert payment["receipt_verified"] and payment["receipt"]
    assert await day(node) == (PRICE_NANOS, 0)
    (event,) = (await Events(node.database).list("t")).events
    assert (event.id, event.kind, event.cost_usd_nanos, event.evidence_status) == (
        result["event_id"],
        "hire",
        PRICE_NANOS,
        "present",
    )
    assert await node.buyer.settle_open_calls() == 0


async def balances(node: BuyerNode, asset: Asset, wallet: Wallet) -> tuple[int, int]:
    return await node.chain.balance(asset.address, wallet.address), await node.chain.balance(asset.address, PAYEE)


async def test_a_listing_says_where_how_much_and_to_whom(node: BuyerNode, seller: SellerProcess) -> None:
    body = {"agent_card_url": seller.card_url, "price_per_call_usd": "0.01", "pay_to": PAYEE, "skill": "ask"}
    listing = await node.bazaar.publish("seller", body)
    for named in ({"resource_id": listing["id"]}, {"listing": listing}):
        result = await node.buyer.hire("t", HireRequest.parse({"message": "the work", **named}))
        assert (result["status"], result["resource_id"]) == ("completed", listing["id"])
    cheaper = await node.bazaar.publish("seller", {**body, "price_per_call_usd": "0.009"})
    with pytest.raises(PriceAboveMax):
        await node.buyer.hire("t", HireRequest.parse({"message": "the work", "resource_id": cheaper["id"]}))


@pytest.mark.parametrize(
    ("skill", "more", "refusal"),
    [
        ("ask", {"max_price": "0.009999999"}, PriceAboveMax),
        ("dear", {}, PriceAboveMax),
        ("dear", {"max_price": 5}, WalletTooLow),
        ("other-network", {}, NetworkMismatch),
        ("ask", {"max_price": 0}, PriceAboveMax),
    ],
)
async def test_what_was_not_agreed_is_refused_before_anything_is_signed(
    node: BuyerNode, seller: SellerProcess, skill: str, more: dict[str, Any], refusal: type[HireRefused]
) -> None:
    sent = len(seller.payloads())
    with pytest.raises(refusal):
        await node.buyer.hire("t", work(seller, skill, **more))
    assert len(seller.payloads()) == sent
    assert await day(node) == (0, 0)


async def test_another_payee_than_the_listings_is_refused(node: BuyerNode, seller: SellerProcess) -> None:
    sent = len(seller.payloads())
    listing = {"agent_card_url": seller.card_url, "id": "baz_x", "skill": "other-payee", "pay_to": PAYEE}
    with pytest.raises(PayeeMismatch):
        await node.buyer.hire("t", HireRequest.parse({"message": "m", "listing": listing, "max_price": 1}))
    assert len(seller.payloads()) == sent


async def test_a_day_without_room_refuses_and_leaves_an_ended_call(node: BuyerNode, seller: SellerProcess) -> None:
    await node.spend.set_limit(await open_day(node.spend), PRICE_NANOS - 1)
    sent = len(seller.payloads())
    with pytest.raises(BudgetRefused):
        await node.buyer.hire("t", work(seller, "ask"))
    assert len(seller.payloads()) == sent
    assert await rows(node, "SELECT point, failure FROM hire_call") == [("released", "INSUFFICIENT_BUDGET")]


async def rows(node: BuyerNode, statement: str) -> list[tuple[Any, ...]]:
    async with node.database.read() as session:
        return [tuple(row) for row in (await (await session.connection()).execute(text(statement))).all()]


async def test_a_key_with_a_day_of_its_own_hires_within_it(node: BuyerNode, seller: SellerProcess) -> None:
    """Beside its tenant's: the second hire has room in that, and none in the key's."""
    asked = {"agent_card_url": seller.card_url, "message": "the work", "skill": "ask", "max_price": "0.05"}
    assert (await node.buyer.hire("t", HireRequest.parse(asked, "limited")))["status"] == "completed"
    with pytest.raises(BudgetRefused) as told:
        await node.buyer.hire("t", HireRequest.parse(asked, "limited"))
    assert told.value.budget_id == "day:limited"
    assert await day(node) == (PRICE_NANOS, 0)


async def test_a_payment_taken_by_a_silent_seller_is_pending_until_the_chain_decides(
    node: BuyerNode, seller: SellerProcess, chain_url: str, asset: Asset
) -> None:
    """Hard case 2: nobody releases it, and a settlement by anybody, however late, captures it once."""
    hiring = asyncio.create_task(node.buyer.hire("t", work(seller, "silent")))
    payload = await sent_by(node, seller)
    result = await hiring
    assert (result["status"], result["payment"]["status"]) == ("pending", "pending")
    assert await day(node) == (0, PRICE_NANOS)
    assert await node.buyer.settle_open_calls() == 0
    tx_hash = settle(chain_url, asset.address, payload)
    assert sum(await asyncio.gather(*(node.buyer.settle_open_calls() for _ in range(4)))) >= 1
    assert await day(node) == (PRICE_NANOS, 0)
    assert len((await Events(node.database).list("t")).events) == 1
    call = await node.buyer.call("t", result["call_id"])
    assert (call["payment"]["status"], call["payment"]["tx_hash"]) == ("settled", tx_hash)


async def sent_by(node: BuyerNode, seller: SellerProcess) -> dict[str, Any]:
    """The payload of this node's only call, once the seller has it."""
    while True:
        signed = [nonce for (nonce,) in await rows(node, "SELECT nonce FROM hire_call WHERE nonce <> ''")]
        for payload in await asyncio.to_thread(seller.payloads):
            if payload["payload"]["authorization"]["nonce"].lower() in signed:
                return payload
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("skill", "fate"), [("vanish", "pending"), ("fail", "failed")])
async def test_what_was_paid_is_captured_though_the_work_did_not_arrive(
    node: BuyerNode, chain_url: str, asset: Asset, tmp_path: Path, skill: str, fate: str
) -> None:
    own = start_seller(chain_url, asset.address, tmp_path / "seller")
    try:
        result = await node.buyer.hire("t", work(own, skill))
    finally:
        own.stop()
    assert (result["status"], result["payment"]["status"]) == (fate, "settled")
    assert result["payment"]["evidence"] == "chain"
    assert await day(node) == (PRICE_NANOS, 0)


async def test_a_receipt_for_a_payment_that_the_chain_does_not_have_is_not_believed(
    node: BuyerNode, seller: SellerProcess
) -> None:
    result = await node.buyer.hire("t", work(seller, "lie"))
    assert result["task"]["state"] == "completed"
    assert (result["status"], result["payment"]["status"], result["payment"]["tx_hash"]) == ("pending", "pending", None)
    assert await day(node) == (0, PRICE_NANOS)


async def test_another_transaction_than_the_payments_is_not_taken_for_its_proof(
    node: BuyerNode, seller: SellerProcess
) -> None:
    payment = (await node.buyer.hire("t", work(seller, "other-hash")))["payment"]
    proof = await node.chain.receipt(payment["tx_hash"])
    assert proof is not None
    assert payment["nonce"] in [end.nonce for end in authorizations(proof, payment["asset"])]


@pytest.mark.parametrize("logs", [True, False])
async def test_an_earlier_transfer_of_the_same_amount_is_not_taken_for_its_proof(
    database: Database,
    chain_url: str,
    asset: Asset,
    wallet: Wallet,
    seller: SellerProcess,
    logs: bool,
) -> None:
    """Payer, payee and price are those of the hire before; also where the chain's logs do not reach back."""
    chain = ChainView(chain_url, CHAIN_ID) if logs else ForgetfulChain(chain_url, CHAIN_ID)
    async with buyer_node(database, chain_url, asset, wallet, chain=chain) as node:
        first = (await node.buyer.hire("t", work(seller, "ask")))["payment"]
        second = (await node.buyer.hire("t", work(seller, "earlier-hash")))["payment"]
    assert (first["evidence"], second["evidence"]) == ("chain", "chain" if logs else "none")
    assert first["tx_hash"] != second["tx_hash"]


class ForgetfulChain(ChainView):
    """Keeps states and receipts, and no logs to search."""

    async def authorization_end(self, token: str, authorizer: str, nonce: str, from_block: int) -> None:
        return None


async def test_a_receipt_that_states_another_payment_is_not_kept_and_the_chain_is_the_proof(
    node: BuyerNode, seller: SellerProcess
) -> None:
    result = await node.buyer.hire("t", work(seller, "misstate"))
    assert (result["status"], result["payment"]["evidence"]) == ("completed", "chain")
    assert (result["payment"]["receipt"], result["payment"]["receipt_verified"]) == (None, False)


async def test_a_seller_that_cannot_be_reached_or_leads_inside_costs_nothing(
    node: BuyerNode, seller: SellerProcess
) -> None:
    for url, refusal in (
        ("http://169.254.169.254/card.json", AddressRefused),
        (f"{seller.url}/inside.json", AddressRefused),
        ("http://127.0.0.1:1/card.json", AgentNodeError),
        (f"{seller.url}/payloads.json", SellerUnreachable),
    ):
        with pytest.raises(refusal):
            await node.buyer.hire("t", work(seller, "ask", agent_card_url=url))
    assert await rows(node, "SELECT * FROM hire_call") == []


async def test_another_tenants_call_looks_like_none(node: BuyerNode, seller: SellerProcess) -> None:
    result = await node.buyer.hire("t", work(seller, "ask"))
    with pytest.raises(CallUnknown):
        await node.buyer.call("u", result["call_id"])


async def test_no_signature_and_no_content_is_in_any_table(node: BuyerNode, seller: SellerProcess) -> None:
    """Promise 18."""
    hiring = asyncio.create_task(node.buyer.hire("t", work(seller, "ask", message="planted prompt")))
    payload = await sent_by(node, seller)
    result = await hiring
    kept = str(await rows(node, "SELECT * FROM hire_call")) + str(await rows(node, "SELECT * FROM economic_events"))
    signature = payload["payload"]["signature"]
    for secret in (signature, signature[2:], "planted prompt", "the work"):
        assert secret not in kept
    assert signature not in str(result)
