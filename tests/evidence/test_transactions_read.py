"""A transfer can be shown and read whatever type of transaction a stranger broadcast it in."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from made_up import NONCE, PAYER, Purchase, call_data

from agentnode.evidence.transfers import NotADirectCall, payer_who_signed, raw_from_rpc, read_transaction

USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
ACCESS = [{"address": "0x" + "dd" * 20, "storageKeys": ["0x" + "00" * 31 + "07"]}]
OLD: dict[str, Any] = {"nonce": 3, "gas": 100_000, "value": 0, "to": USDC, "gasPrice": 7}
NEW: dict[str, Any] = {
    **{name: OLD[name] for name in ("nonce", "gas", "value", "to")},
    "chainId": 8453,
    "maxFeePerGas": 9,
    "maxPriorityFeePerGas": 0,
    "accessList": ACCESS,
}
DELEGATE: Any = Account.create().sign_authorization({"chainId": 8453, "address": "0x" + "ee" * 20, "nonce": 0})
KINDS: dict[str, dict[str, Any]] = {
    "before EIP-155": OLD,
    "legacy": {**OLD, "chainId": 8453},
    "2930": {**OLD, "type": 1, "chainId": 8453, "accessList": ACCESS},
    "1559": {**NEW, "type": 2},
    "7702": {**NEW, "type": 4, "authorizationList": [DELEGATE]},
}


def shown_by_rpc(fields: dict[str, Any], signed: Any, data: bytes) -> dict[str, Any]:
    """The transaction as a node's JSON-RPC shows it."""
    numbers = {name: hex(value) for name, value in fields.items() if isinstance(value, int)}
    shown: dict[str, Any] = {"type": "0x0", **numbers, "to": USDC, "input": "0x" + data.hex(), "v": hex(signed.v)}
    if "accessList" in fields:
        shown["accessList"] = fields["accessList"]
    if "authorizationList" in fields:
        shown["authorizationList"] = [
            {
                "chainId": hex(DELEGATE.chain_id),
                "address": "0x" + "ee" * 20,
                "nonce": hex(DELEGATE.nonce),
                "yParity": hex(DELEGATE.y_parity),
                "r": hex(DELEGATE.r),
                "s": hex(DELEGATE.s),
            }
        ]
    return {**shown, "r": hex(signed.r), "s": hex(signed.s)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_transfer_can_be_shown_in_a_transaction_of_each_type(kind: str) -> None:
    """Its bytes are those that were signed, and they tell sender, chain, nonce and payer."""
    sender, data, fields = Account.create(), call_data(), KINDS[kind]
    signed = sender.sign_transaction({**fields, "data": data})
    raw = raw_from_rpc(shown_by_rpc(fields, signed, data))
    assert raw == signed.raw_transaction.to_0x_hex()
    call = read_transaction(raw)
    assert call.tx_hash == signed.hash.to_0x_hex()
    assert (call.broadcaster, call.nonce) == (sender.address.lower(), NONCE)
    assert call.chain_id == fields.get("chainId")
    assert payer_who_signed(call, "USD Coin", "2", 8453) == PAYER.address.lower()


def test_a_rollups_deposit_is_refused_by_name() -> None:
    """It has no signature, so that no bytes of it prove anything."""
    with pytest.raises(ValueError, match="0x7e"):
        raw_from_rpc({"type": "0x7e"})


def test_a_transfer_inside_another_contracts_call_is_said_to_be_unreadable_offline() -> None:
    """A multicall is no crash and no riddle."""
    purchase = Purchase(bytes.fromhex("ac9650d8") + call_data())
    assert "cannot be read offline" in purchase.failing()["transaction"]
    with pytest.raises(NotADirectCall):
        read_transaction(purchase.transaction["raw"])
