"""`POST /api/v2/bazaar/call` under an Idempotency-Key: however often it is asked, it buys once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from hire_world import BuyerNode, SellerProcess, Wallet, open_day
from test_hire import PRICE, PRICE_NANOS, day, rows, work

from agentnode.api import bazaar, errors
from ledger.accounts import Caller
from ledger.clock import SystemClock
from ledger.database import AsyncSession
from ledger.errors import Conflict
from ledger.money import Asset
from ledger.vault import Vault
from ledger.work import Idempotency
from tests.node_keys import node_keys


@pytest.fixture
async def http(node: BuyerNode) -> AsyncIterator[httpx.AsyncClient]:
    """The route over the buyer, for a caller of tenant t."""
    clock = SystemClock()
    vault = Vault(node.database, clock, node_keys())
    app = FastAPI()
    errors.install(app)
    caller = Caller("t", "key", frozenset({"spend"}), None)
    once = Idempotency(node.database, clock, vault)
    app.include_router(bazaar.router(node.bazaar, node.buyer, once, lambda scope: Depends(lambda: caller)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node", timeout=60) as client:
        yield client


async def hired(http: httpx.AsyncClient, seller: SellerProcess, skill: str, key: str = "k", **more: Any) -> Any:
    body = {"agent_card_url": seller.card_url, "message": "the work", "skill": skill, "max_price": "0.05", **more}
    return await http.post("/api/v2/bazaar/call", json=body, headers={"Idempotency-Key": key})


@pytest.mark.database
async def test_a_hire_asked_again_after_its_answer_was_lost_is_one_purchase(
    http: httpx.AsyncClient, node: BuyerNode, seller: SellerProcess, wallet: Wallet, asset: Asset
) -> None:
    """The second answer is the call as it stands; another key buys again."""
    before = await node.chain.balance(asset.address, wallet.address)
    first, second = [(await hired(http, seller, "ask")).json() for _ in range(2)]
    assert (second["call_id"], second["status"]) == (first["call_id"], "completed")
    assert second["payment"]["tx_hash"] == first["payment"]["tx_hash"]
    assert before - await node.chain.balance(asset.address, wallet.address) == PRICE
    assert (await hired(http, seller, "ask", key="other")).json()["call_id"] != first["call_id"]
    assert await day(node) == (2 * PRICE_NANOS, 0)


@pytest.mark.database
async def test_hires_asked_at_the_same_time_under_one_key_are_one_purchase(
    http: httpx.AsyncClient, node: BuyerNode, seller: SellerProcess, wallet: Wallet, asset: Asset
) -> None:
    """The others are told that it is in progress, or come to the same call."""
    before = await node.chain.balance(asset.address, wallet.address)
    answers = await asyncio.gather(*(hired(http, seller, "ask") for _ in range(4)))
    bought = {answer.json()["call_id"] for answer in answers if answer.status_code == 200}
    refused = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert (len(bought), refused - {"REQUEST_IN_PROGRESS"}) == (1, set())
    assert before - await node.chain.balance(asset.address, wallet.address) == PRICE
    assert await rows(node, "SELECT point FROM hire_call") == [("paid",)]


async def test_an_open_payment_asked_for_again_is_not_paid_again(
    http: httpx.AsyncClient, node: BuyerNode, seller: SellerProcess
) -> None:
    """The seller is silent: the retry is the pending call."""
    first, second = [(await hired(http, seller, "silent")).json() for _ in range(2)]
    assert (second["call_id"], second["status"]) == (first["call_id"], "pending")
    assert await day(node) == (0, PRICE_NANOS)


async def test_a_key_with_another_body_is_refused(http: httpx.AsyncClient, seller: SellerProcess) -> None:
    """And a key that no header can carry back is none."""
    assert (await hired(http, seller, "echo")).status_code == 200
    other = await hired(http, seller, "echo", message="other work")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    for key in ("", "two words", "k" * 201):
        assert (await hired(http, seller, "echo", key=key)).json()["error"]["code"] == "INVALID_INPUT"


async def test_free_work_asked_for_again_is_done_once(
    http: httpx.AsyncClient, node: BuyerNode, seller: SellerProcess
) -> None:
    """Its reply was kept."""
    first, second = [(await hired(http, seller, "echo")).json() for _ in range(2)]
    assert first == second
    assert first["payment"] is None and first["task"]["text"] == "the work"


async def test_a_refused_hire_may_be_asked_again_under_its_key(
    http: httpx.AsyncClient, node: BuyerNode, seller: SellerProcess
) -> None:
    """Nothing was bought: the same refusal, and once there is room, the work."""
    budget = await open_day(node.spend)
    await node.spend.set_limit(budget, PRICE_NANOS - 1)
    codes = [(await hired(http, seller, "ask")).json()["error"]["code"] for _ in range(2)]
    assert codes == ["INSUFFICIENT_BUDGET"] * 2
    await node.spend.set_limit(budget, PRICE_NANOS)
    assert (await hired(http, seller, "ask")).json()["status"] == "completed"


async def test_no_payment_leaves_before_its_call_is_bound_to_the_request(
    node: BuyerNode, seller: SellerProcess
) -> None:
    """Another run was faster: nothing is sent, and what was held is given back."""

    async def faster(session: AsyncSession, call_id: str) -> None:
        raise Conflict("another run was faster")

    sent = len(seller.payloads())
    with pytest.raises(Conflict):
        await node.buyer.hire("t", work(seller, "ask"), faster)
    assert len(seller.payloads()) == sent
    assert await day(node) == (0, 0)
    assert await rows(node, "SELECT point, nonce FROM hire_call") == [("released", "")]
