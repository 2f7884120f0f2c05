"""Hiring under a mandate: what it does not allow is refused before anything is signed; what is paid is counted once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hire_mandates import granted, standing
from hire_world import PAYEE, BuyerNode, SellerProcess, Wallet
from test_hire import PRICE_NANOS, day, rows, work

from agentnode.devchain import ACCOUNTS
from ledger.errors import AgentNodeError
from ledger.events import Events

OTHER = ACCOUNTS[3][0]


@pytest.mark.database
async def test_a_hire_spends_exactly_its_price_of_the_mandate_and_names_its_use(
    node: BuyerNode, seller: SellerProcess, wallet: Wallet
) -> None:
    mandate_id = await granted(node, wallet.address, allowed_payees=[PAYEE], allowed_categories=["research"])
    result = await node.buyer.hire("t", work(seller, "ask", mandate_id=mandate_id, category="research"))
    assert result["status"] == "completed"
    assert await standing(node, mandate_id) == (PRICE_NANOS, 0)
    assert await day(node) == (0, 0)
    event = await Events(node.database).get(result["event_id"], "t")
    assert (event.mandate_id, event.mandate_use_id) == (mandate_id, result["mandate_use_id"])
    (use,) = (await node.mandates.uses("t", mandate_id))["data"]
    assert (use["id"], use["status"]) == (result["mandate_use_id"], "captured")


@pytest.mark.parametrize(
    ("constraints", "code"),
    [
        ({"max_amount_usd": "0.009999999"}, "BUDGET_EXCEEDED"),
        ({"max_per_use_usd": "0.005"}, "BUDGET_EXCEEDED"),
        ({"allowed_categories": ["travel"]}, "CATEGORY_NOT_ALLOWED"),
        ({"allowed_payees": [OTHER]}, "PAYEE_NOT_ALLOWED"),
        ({"agent": OTHER}, "AGENT_NOT_ALLOWED"),
        ({"revoked": True}, "MANDATE_REVOKED"),
        ({"valid_from": 4_000_000_000, "valid_until": 4_000_000_001}, "MANDATE_NOT_YET_VALID"),
    ],
)
async def test_what_the_mandate_does_not_allow_is_refused_with_its_code_before_anything_is_signed(
    node: BuyerNode, seller: SellerProcess, wallet: Wallet, constraints: dict[str, Any], code: str
) -> None:
    agent, revoked = constraints.pop("agent", wallet.address), constraints.pop("revoked", False)
    mandate_id = await granted(node, agent, **constraints)
    if revoked:
        await node.mandates.revoke("t", mandate_id)
    sent = len(seller.payloads())
    with pytest.raises(AgentNodeError) as refused:
        await node.buyer.hire("t", work(seller, "ask", mandate_id=mandate_id))
    assert refused.value.code == code
    assert len(seller.payloads()) == sent
    assert await standing(node, mandate_id) == (0, 0)
    assert await rows(node, "SELECT point, nonce, failure FROM hire_call") == [("released", "", code)]


async def test_a_mandate_that_does_not_exist_is_refused(node: BuyerNode, seller: SellerProcess) -> None:
    with pytest.raises(AgentNodeError) as refused:
        await node.buyer.hire("t", work(seller, "ask", mandate_id="mnd_nothing"))
    assert refused.value.code == "MANDATE_NOT_FOUND"


async def test_hires_in_parallel_never_pass_the_mandates_sum(
    node: BuyerNode, seller: SellerProcess, wallet: Wallet
) -> None:
    """A mandate for two and a half prices pays for two of six."""
    mandate_id = await granted(node, wallet.address, "0.025")
    hires = (node.buyer.hire("t", work(seller, "ask", mandate_id=mandate_id)) for _ in range(6))
    outcomes = await asyncio.gather(*hires, return_exceptions=True)
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, AgentNodeError)]
    assert refused == ["BUDGET_EXCEEDED"] * 4
    assert [outcome["status"] for outcome in outcomes if isinstance(outcome, dict)] == ["completed"] * 2
    assert await standing(node, mandate_id) == (2 * PRICE_NANOS, 0)


async def test_a_mandate_revoked_after_the_payment_has_left_still_counts_what_moved(
    node: BuyerNode, seller: SellerProcess, wallet: Wallet, chain_url: str, asset: Any
) -> None:
    from hire_chain import settle

    mandate_id = await granted(node, wallet.address)
    result = await node.buyer.hire("t", work(seller, "silent", mandate_id=mandate_id))
    assert await standing(node, mandate_id) == (0, PRICE_NANOS)
    await node.mandates.revoke("t", mandate_id)
    assert await standing(node, mandate_id) == (0, PRICE_NANOS)
    nonce = result["payment"]["nonce"]
    (payload,) = [p for p in seller.payloads() if p["payload"]["authorization"]["nonce"].lower() == nonce]
    settle(chain_url, asset.address, payload)
    assert await node.buyer.settle_open_calls() == 1
    assert await standing(node, mandate_id) == (PRICE_NANOS, 0)
