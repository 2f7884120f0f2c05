"""What a raw Ethereum transaction and a receipt's log say about a USDC transfer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trust.chain_records import read_log, transfer_in

_TRANSFER_TYPES = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
_SELECTORS = {
    bytes.fromhex("e3ee160e"): (*_TRANSFER_TYPES, "uint8", "bytes32", "bytes32"),
    bytes.fromhex("cf092995"): (*_TRANSFER_TYPES, "bytes"),
}


@dataclass(frozen=True)
class Transfer:
    """Token, from, to and value; addresses in lower case."""

    token: str
    sender: str
    payee: str
    amount_atomic: int


@dataclass(frozen=True)
class SignedCall:
    """A signed transaction that calls `transferWithAuthorization`."""

    tx_hash: str
    broadcaster: str
    chain_id: int
    transfer: Transfer
    nonce: str


def read_transaction(raw_tx: str) -> SignedCall:
    """Decodes and recovers a raw EIP-1559 transaction. Raises ValueError where it is none, or another call."""
    from eth_abi.abi import decode
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from eth_utils.crypto import keccak
    from hexbytes import HexBytes

    raw = HexBytes(raw_tx)
    fields = TypedTransaction.from_bytes(raw).as_dict()
    data = bytes(HexBytes(fields["data"]))  # type: ignore[arg-type]
    types = _SELECTORS.get(data[:4])
    if types is None:
        raise ValueError("it does not call transferWithAuthorization")
    sender, payee, value, _, _, nonce, *_ = decode(types, data[4:])
    return SignedCall(
        tx_hash="0x" + keccak(raw).hex(),
        broadcaster=str(Account.recover_transaction(raw)).lower(),
        chain_id=int(str(fields["chainId"])),
        transfer=Transfer(HexBytes(fields["to"]).to_0x_hex().lower(), sender.lower(), payee.lower(), int(value)),  # type: ignore[arg-type]
        nonce="0x" + nonce.hex(),
    )


def raw_from_rpc(transaction: dict[str, Any]) -> str:
    """The raw bytes of a transaction as JSON-RPC shows it; its hash tells whether they are the same."""
    from eth_account.typed_transactions.typed_transaction import TypedTransaction

    fields = {
        "type": "0x2",
        "chainId": transaction["chainId"],
        "nonce": transaction["nonce"],
        "maxPriorityFeePerGas": transaction["maxPriorityFeePerGas"],
        "maxFeePerGas": transaction["maxFeePerGas"],
        "gas": transaction["gas"],
        "to": transaction["to"],
        "value": transaction["value"],
        "data": transaction["input"],
        "accessList": transaction.get("accessList", []),
        "v": int(transaction.get("yParity", transaction["v"]), 16),
        "r": int(transaction["r"], 16),
        "s": int(transaction["s"], 16),
    }
    return "0x" + TypedTransaction.from_dict(fields).encode().hex()


def read_transfers(logs: list[dict[str, Any]]) -> list[Transfer]:
    """The ERC-20 transfers in a receipt's logs. Raises ValueError for a malformed log."""
    found = [transfer_in(read_log(log)) for log in logs]
    return [Transfer(t.token, t.sender, t.payee, t.amount_atomic) for t in found if t is not None]
