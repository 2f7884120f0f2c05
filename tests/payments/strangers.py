"""Anybody may broadcast an authorisation: what a stranger does with one."""

from __future__ import annotations

from typing import Any

from tests.devchain.devchain_process import ChainProcess

BYTES_OVERLOAD = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"


def by_stranger(chain: ChainProcess, payload: dict[str, Any]) -> str:
    """Anybody may broadcast an authorisation that is under way. The transaction's hash."""
    inner, usdc, sender = payload["payload"], chain.usdc(), chain.funded("0")
    signed = inner["authorization"]
    numbers = [int(signed[name]) for name in ("value", "validAfter", "validBefore")]
    nonce, signature = bytes.fromhex(signed["nonce"][2:]), bytes.fromhex(inner["signature"][2:])
    call = usdc.get_function_by_signature(BYTES_OVERLOAD)(signed["from"], signed["to"], *numbers, nonce, signature)
    receipt = chain.send(sender, to=usdc.address, data=call._encode_transaction_data())
    return str(receipt["transactionHash"].to_0x_hex())
