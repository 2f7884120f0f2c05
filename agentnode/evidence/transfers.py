"""What a raw Ethereum transaction and a receipt's log say about a USDC transfer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trust.chain_records import read_data, read_log, transfer_in
from trust.signatures import secp256k1

_TRANSFER_TYPES = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
_NAMES = ("from", "to", "value", "validAfter", "validBefore", "nonce")
_SELECTORS = {
    bytes.fromhex("e3ee160e"): (*_TRANSFER_TYPES, "uint8", "bytes32", "bytes32"),
    bytes.fromhex("cf092995"): (*_TRANSFER_TYPES, "bytes"),
}

_FEE_MARKET = "chainId nonce maxPriorityFeePerGas maxFeePerGas gas to value input accessList"
# By type, in the order of their RLP and with JSON-RPC's names: EIP-155, 2930, 1559, 4844, 7702.
_MEMBERS = {
    0: "nonce gasPrice gas to value input v r s",
    1: "chainId nonce gasPrice gas to value input accessList yParity r s",
    2: f"{_FEE_MARKET} yParity r s",
    3: f"{_FEE_MARKET} maxFeePerBlobGas blobVersionedHashes yParity r s",
    4: f"{_FEE_MARKET} authorizationList yParity r s",
}
_MEMBERS_WITHIN = {"accessList": "address storageKeys", "authorizationList": "chainId address nonce yParity r s"}
_BYTES = {"to", "input", "address", "storageKeys", "blobVersionedHashes"}


@dataclass(frozen=True)
class Transfer:
    """Token, from, to and value; addresses in lower case."""

    token: str
    sender: str
    payee: str
    amount_atomic: int


@dataclass(frozen=True)
class SignedCall:
    """A signed transaction that calls `transferWithAuthorization` with the payer's signature.

    `chain_id` is None in a transaction of before EIP-155. A `signature` of 65 bytes is a key's, any other a contract's.
    """

    tx_hash: str
    broadcaster: str
    chain_id: int | None
    transfer: Transfer
    valid_after_s: int
    valid_before_s: int
    nonce: str
    signature: bytes


@dataclass(frozen=True)
class Sent:
    """A signed transaction: who sent it, and which contract it calls. Addresses in lower case."""

    tx_hash: str
    sender: str
    chain_id: int | None
    to: str
    data: bytes


class NotADirectCall(ValueError):
    """The transaction moves money inside another contract's call, or none."""


def read_sent(raw_tx: str) -> Sent:
    """Decodes and recovers a raw transaction of any type. Raises ValueError where it is none."""
    from eth_account import Account
    from eth_utils.crypto import keccak

    raw = read_data(raw_tx)
    chain_id, to, data = _target(raw)
    sender = str(Account.recover_transaction(raw)).lower()
    return Sent("0x" + keccak(raw).hex(), sender, chain_id, "0x" + to.hex(), data)


def read_transaction(raw_tx: str) -> SignedCall:
    """The authorised transfer that a raw transaction calls for.

    Raises NotADirectCall where it calls something else, and ValueError where it is no transaction.
    """
    from eth_abi.abi import decode

    sent = read_sent(raw_tx)
    types = _SELECTORS.get(sent.data[:4])
    if types is None:
        raise NotADirectCall("it does not call transferWithAuthorization itself, and cannot be read offline")
    sender, payee, value, valid_after, valid_before, nonce, *signed = decode(types, sent.data[4:])
    return SignedCall(
        tx_hash=sent.tx_hash,
        broadcaster=sent.sender,
        chain_id=sent.chain_id,
        transfer=Transfer(sent.to, sender.lower(), payee.lower(), int(value)),
        valid_after_s=int(valid_after),
        valid_before_s=int(valid_before),
        nonce="0x" + nonce.hex(),
        signature=signed[0] if len(signed) == 1 else signed[1] + signed[2] + bytes([signed[0]]),
    )


def payer_who_signed(call: SignedCall, token_name: str, token_version: str, chain_id: int) -> str:
    """The address whose key signed the transfer (EIP-3009), in lower case; name and version of the token's domain.

    Raises SignatureInvalid.
    """
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    terms = call.transfer
    encoded = encode_typed_data(
        {"name": token_name, "version": token_version, "chainId": chain_id, "verifyingContract": terms.token},
        {"TransferWithAuthorization": [{"name": n, "type": t} for n, t in zip(_NAMES, _TRANSFER_TYPES, strict=True)]},
        {
            "from": terms.sender,
            "to": terms.payee,
            "value": terms.amount_atomic,
            "validAfter": call.valid_after_s,
            "validBefore": call.valid_before_s,
            "nonce": bytes.fromhex(call.nonce[2:]),
        },
    )
    digest = keccak(b"\x19" + encoded.version + encoded.header + encoded.body)
    signer: str = secp256k1.recover(digest, call.signature)
    return signer.lower()


def raw_from_rpc(transaction: dict[str, Any]) -> str:
    """The raw bytes of a transaction as JSON-RPC shows it; its hash tells whether they are the same.

    Raises ValueError for a type that nobody signs, such as a rollup's deposits.
    """
    import rlp

    kind = int(transaction.get("type") or "0x0", 16)
    if kind not in _MEMBERS:
        raise ValueError(f"a transaction of type {kind:#x} has no signature to show")
    told = {"accessList": [], "yParity": transaction.get("v"), **transaction}
    raw: bytes = rlp.encode([_fields(name, told[name]) for name in _MEMBERS[kind].split()])
    return "0x" + (bytes([kind]) + raw if kind else raw).hex()


def _fields(name: str, value: Any) -> Any:
    """A member as RLP has it: lists of lists, and numbers without leading zeros."""
    if isinstance(value, list):
        return [_fields(name, item) for item in value]
    if isinstance(value, dict):
        return [_fields(inner, value[inner]) for inner in _MEMBERS_WITHIN[name].split()]
    return read_data(value or "0x") if name in _BYTES else int(value, 16)


def _target(raw: bytes) -> tuple[int | None, bytes, bytes]:
    """Chain, called contract and call data. The type is the first byte, or it is the list of a legacy transaction."""
    import rlp

    kind = raw[0] if raw[:1] < b"\x80" else 0
    values = dict(zip(_MEMBERS[kind].split(), rlp.decode(raw[1:] if kind else raw), strict=True))
    v = int.from_bytes(values["v"]) if not kind else 0
    chain_id = int.from_bytes(values["chainId"]) if kind else (v - 35) // 2
    return (None if v in (27, 28) else chain_id), values["to"], values["input"]


def read_transfers(logs: list[dict[str, Any]]) -> list[Transfer]:
    """The ERC-20 transfers in a receipt's logs. Raises ValueError for a malformed log."""
    found = [transfer_in(read_log(log)) for log in logs]
    return [Transfer(t.token, t.sender, t.payee, t.amount_atomic) for t in found if t is not None]
