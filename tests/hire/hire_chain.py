"""Puts a signed payment on the embedded chain, as any facilitator (or stranger) can."""

from __future__ import annotations

from typing import Any

import httpx

FACILITATOR_KEY = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
_SELECTOR = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"


def rpc(rpc_url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = httpx.post(rpc_url, json=body, timeout=20, verify=False).raise_for_status().json()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


def settle(rpc_url: str, token: str, payload: dict[str, Any]) -> str:
    """Broadcasts the authorisation and answers the hash of the mined transaction."""
    from eth_abi.abi import encode
    from eth_account import Account
    from eth_utils.address import to_checksum_address
    from eth_utils.crypto import keccak

    inner = payload["payload"]
    signed = inner["authorization"]
    values = [
        signed["from"],
        signed["to"],
        *(int(signed[name]) for name in ("value", "validAfter", "validBefore")),
        bytes.fromhex(signed["nonce"][2:]),
        bytes.fromhex(inner["signature"][2:]),
    ]
    data = keccak(text=_SELECTOR)[:4] + encode(
        ["address", "address", "uint256", "uint256", "uint256", "bytes32", "bytes"], values
    )
    tx_hash = _sent(rpc_url, Account.from_key(FACILITATOR_KEY), to_checksum_address(token), data)
    receipt = rpc(rpc_url, "eth_getTransactionReceipt", tx_hash)
    if receipt["status"] != "0x1":
        raise RuntimeError("the transfer was mined and reverted")
    return tx_hash


def _sent(rpc_url: str, sender: Any, to: str, data: bytes) -> str:
    """Several processes send from this account, and the chain keeps no queue: the first with a number has it."""
    while True:
        transaction = {
            "type": 2,
            "chainId": 31337,
            "nonce": int(rpc(rpc_url, "eth_getTransactionCount", sender.address, "latest"), 16),
            "to": to,
            "value": 0,
            "data": data,
            "gas": 300_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 10**9,
        }
        raw = sender.sign_transaction(transaction).raw_transaction.to_0x_hex()
        try:
            return str(rpc(rpc_url, "eth_sendRawTransaction", raw))
        except RuntimeError as refused:
            if "nonce too low" not in str(refused):
                raise
