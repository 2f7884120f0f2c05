"""Mandates for a hire, granted by an account of the chain."""

from __future__ import annotations

import time
from typing import Any

from hire_world import BuyerNode

from agentnode.devchain import ACCOUNTS, CHAIN_ID
from trust.signatures import didpkh, eip712


async def granted(node: BuyerNode, agent: str, max_amount_usd: str = "0.025", **constraints: Any) -> str:
    """The id of an intent mandate for the agent with this address, signed by its grantor."""
    from eth_account import Account

    grantor = Account.from_key(ACCOUNTS[2][1])
    body = {
        "type": "intent",
        "user_did": didpkh.encode(CHAIN_ID, grantor.address),
        "agent_did": didpkh.encode(CHAIN_ID, agent),
        "constraints": {
            "max_amount_usd": max_amount_usd,
            "allowed_categories": [],
            "valid_from": int(time.time()) - 60,
            "valid_until": int(time.time()) + 3_600,
            **constraints,
        },
    }
    prepared = await node.mandates.prepare("t", {"mandate": body})
    signed = {**prepared["mandate"], "signature": eip712.sign(prepared["typed_data"], grantor)}
    return str((await node.mandates.create("t", {"mandate": signed}))["mandate"]["id"])


async def standing(node: BuyerNode, mandate_id: str) -> tuple[int, int]:
    """Spent and held, in nanos."""
    budget = await node.spend.budget(mandate_id)
    assert budget is not None
    return budget.spent_usd_nanos, budget.held_usd_nanos
