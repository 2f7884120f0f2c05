"""The buyer pays HTTP resources with x402: an official server's, in its own process, over a real chain."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hire_world import PAYEE, BuyerNode, Wallet, open_day
from sqlmodel import update

from agentnode.hire import HireRequest, PriceAboveMax, SellerRefused
from agentnode.hire.http_seller import required_of
from agentnode.hire.tables import HireCall
from ledger.errors import InvalidInput
from ledger.money import Asset
from tests.forked import Program

PRICE, PRICE_NANOS = 10_000, 10_000_000


@pytest.fixture(scope="module")
def official(chain_url: str, asset: Asset) -> Iterator[str]:
    """Where the official server answers."""
    process = Program("official_server", "0", chain_url, asset.address, PAYEE)
    word, _, url = process.stdout.readline().strip().partition(" ")
    assert word == "ready", "the server did not start"
    yield url
    process.kill()


def work(url: str, **more: Any) -> HireRequest:
    return HireRequest.parse({"http": {"url": url, "json": {"about": "bees"}}, "max_price": "0.05", **more})


async def spent(node: BuyerNode) -> tuple[int, int]:
    budget = await node.spend.budget(await open_day(node.spend))
    assert budget is not None
    return budget.spent_usd_nanos, budget.held_usd_nanos


async def test_the_buyer_pays_an_official_server(node: BuyerNode, official: str, wallet: Wallet, asset: Asset) -> None:
    """Asked with 402, paid on the same request; the answer, the transfer on chain and the ledger agree."""
    before = await node.chain.balance(asset.address, wallet.address)
    result = await node.buyer.hire("t", work(f"{official}/report"))
    assert (result["status"], json.loads(result["task"]["text"])) == ("completed", {"report": "on bees"})
    assert before - await node.chain.balance(asset.address, wallet.address) == PRICE
    payment = result["payment"]
    assert (payment["status"], payment["evidence"], payment["payee"]) == ("settled", "chain", PAYEE.lower())
    receipt = await node.chain.receipt(payment["tx_hash"])
    assert receipt is not None and receipt.succeeded
    assert await spent(node) == (PRICE_NANOS, 0)
    again = await node.buyer.call("t", result["call_id"])
    assert (again["status"], again["payment"]["tx_hash"]) == ("completed", payment["tx_hash"])


async def test_a_resource_that_fails_after_it_was_asked_takes_nothing(
    official: str, node: BuyerNode, wallet: Wallet, asset: Asset
) -> None:
    """The official middleware settles nothing that failed; the hold stays until the chain says that nothing comes."""
    result = await node.buyer.hire("t", work(f"{official}/broken"))
    assert result["status"] == "pending"
    assert result["task"]["state"] == "failed"
    assert await node.chain.balance(asset.address, wallet.address) == 1_000_000
    assert await spent(node) == (0, PRICE_NANOS)


async def test_an_answer_that_nobody_was_there_to_hear_is_waited_for_no_longer(node: BuyerNode, official: str) -> None:
    """The buyer's process died after the payment: there is no task to ask for, and the money is accounted for."""
    paid = await node.buyer.hire("t", work(f"{official}/report"))
    async with node.database.write() as session:
        await session.exec(update(HireCall).values(task_ended=False, task_state="working", lease_until_us=0))
    await node.buyer.settle_open_calls()
    found = await node.buyer.call("t", paid["call_id"])
    assert (found["status"], found["task"]["state"], found["payment"]["status"]) == ("failed", "unknown", "settled")


async def test_a_resource_that_asks_more_than_agreed_gets_no_signature(node: BuyerNode, official: str) -> None:
    with pytest.raises(PriceAboveMax):
        await node.buyer.hire("t", work(f"{official}/report", max_price="0.009"))
    with pytest.raises(SellerRefused):
        await node.buyer.hire("t", work(f"{official}/nowhere"))
    assert await spent(node) == (0, 0)


def answer(header: Any = None, body: bytes = b"") -> httpx.Response:
    encoded = base64.b64encode(json.dumps(header).encode()).decode() if header is not None else "%%%"
    return httpx.Response(402, headers={"payment-required": encoded}, content=body)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (lambda: answer({"x402Version": 2}, b'{"x402Version":1}'), {"x402Version": 2}),
        (lambda: answer(None, b'{"x402Version":1}'), {"x402Version": 1}),
        (lambda: answer(None, b"pay me"), None),
        (lambda: answer([1], b"[]"), None),
    ],
    ids=["the header first", "the body of version 1", "a page", "no object"],
)
def test_a_price_is_read_from_the_header_and_else_from_the_body(
    reply: Callable[[], httpx.Response], found: dict[str, Any] | None
) -> None:
    assert required_of(reply()) == found


@pytest.mark.parametrize(
    "asked",
    [
        {"http": {"json": {}}},
        {"http": "http://x.example"},
        {"http": {"url": "http://x.example", "method": "TRACE"}},
        {"http": {"url": "http://x.example"}, "resource_id": "baz_1"},
        {"http": {"method": "GET"}, "agent_card_url": "http://x.example"},
    ],
    ids=["nobody named", "a text", "a strange method", "two named", "an agent"],
)
def test_what_is_no_request_is_refused_by_its_field(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        HireRequest.parse({"max_price": "1", **asked})
