"""Mandates, uses, revocations, and what payers say of receipts and transfers, as EIP-712: any wallet signs it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rfc8785

from ledger.errors import InvalidInput
from trust.signatures import secp256k1

if TYPE_CHECKING:
    from eth_account.messages import SignableMessage
    from eth_account.signers.local import LocalAccount

TypedData = dict[str, Any]
ZERO = bytes(32)


def _fields(text: str) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for kind, name in (field.split() for field in text.split(","))]


# EIP712Domain is always among the types: where it is left out, MetaMask signs another digest than others do.
_DOMAIN = _fields("string name,string version,uint256 chainId,bytes32 salt")
_MANDATE = _fields(
    "string kind,string authority,string grantor,string agent,uint256 maxAmountUsdNanos,string[] categories,"
    "string[] payees,uint64 validFrom,uint64 validUntil,bytes32 constraintsHash,bytes32 parent,bytes32 nonce"
)
_USE = _fields(
    "bytes32 mandate,string useId,uint256 amountUsdNanos,string payee,string category,string audience,uint64 expiresAt"
)
_REVOCATION = _fields("bytes32 mandate,uint64 issuedAt")
_SPEND = _fields("string receiptId,uint256 counter,string quoteId,uint256 amountUsdNanos")
_CLAIM = _fields("string paymentId,bytes32 transactionHash")
_REFUND = _fields("string receiptId")


@dataclass(frozen=True)
class MandateMessage:
    """What a grantor signs; the authority is the signing domain's. Lists in the order given, DIDs as given."""

    kind: str
    grantor: str
    agent: str
    max_amount_usd_nanos: int
    categories: Sequence[str]
    payees: Sequence[str]
    valid_from_s: int
    valid_until_s: int
    nonce: bytes
    constraints_hash: bytes = ZERO
    parent: bytes = ZERO


@dataclass(frozen=True)
class UseMessage:
    """What an agent signs for one use; `mandate` is the mandate's digest."""

    mandate: bytes
    use_id: str
    amount_usd_nanos: int
    payee: str
    category: str
    audience: str
    expires_at_s: int


@dataclass(frozen=True)
class RevocationMessage:
    """What a grantor signs to end a mandate; `mandate` is the mandate's digest."""

    mandate: bytes
    issued_at_s: int


@dataclass(frozen=True)
class SpendMessage:
    """What a payer signs to spend from a receipt; the signing domain's authority issued it."""

    receipt_id: str
    counter: int
    quote_id: str
    amount_usd_nanos: int


@dataclass(frozen=True)
class ClaimMessage:
    """What the sender of a token transfer signs, so that nobody else pays with it: the hash is public."""

    payment_id: str
    tx_hash: bytes


def mandate_typed_data(mandate: MandateMessage, chain_id: int, authority: str) -> TypedData:
    """Typed data for eth_signTypedData_v4. Raises InvalidInput naming a member that wallets encode differently."""
    message = {
        "kind": _text("type", mandate.kind),
        "authority": _text("authority", authority),
        "grantor": _text("user_did", mandate.grantor),
        "agent": _text("agent_did", mandate.agent),
        "maxAmountUsdNanos": _uint("max_amount_usd", mandate.max_amount_usd_nanos, 256),
        "categories": [_text("allowed_categories", category) for category in mandate.categories],
        "payees": [_text("allowed_payees", payee) for payee in mandate.payees],
        "validFrom": _uint("valid_from", mandate.valid_from_s, 64),
        "validUntil": _uint("valid_until", mandate.valid_until_s, 64),
        "constraintsHash": _bytes32("constraints", mandate.constraints_hash),
        "parent": _bytes32("parent", mandate.parent),
        "nonce": _bytes32("nonce", mandate.nonce),
    }
    return _typed_data("Mandate", _MANDATE, message, chain_id, authority)


def use_typed_data(use: UseMessage, chain_id: int, authority: str) -> TypedData:
    """As `mandate_typed_data`, for one use of a mandate."""
    message = {
        "mandate": _bytes32("mandate", use.mandate),
        "useId": _text("use_id", use.use_id),
        "amountUsdNanos": _uint("amount_usd", use.amount_usd_nanos, 256),
        "payee": _text("payee", use.payee),
        "category": _text("category", use.category),
        "audience": _text("audience", use.audience),
        "expiresAt": _uint("expires_at", use.expires_at_s, 64),
    }
    return _typed_data("MandateUse", _USE, message, chain_id, authority)


def revocation_typed_data(revocation: RevocationMessage, chain_id: int, authority: str) -> TypedData:
    """As `mandate_typed_data`, for a mandate's end."""
    message = {
        "mandate": _bytes32("mandate", revocation.mandate),
        "issuedAt": _uint("issued_at", revocation.issued_at_s, 64),
    }
    return _typed_data("MandateRevocation", _REVOCATION, message, chain_id, authority)


def spend_typed_data(spend: SpendMessage, chain_id: int, authority: str) -> TypedData:
    """As `mandate_typed_data`, for one spend of what a receipt has left."""
    message = {
        "receiptId": _text("receiptId", spend.receipt_id),
        "counter": _uint("counter", spend.counter, 256),
        "quoteId": _text("quoteId", spend.quote_id),
        "amountUsdNanos": _uint("amount_usd", spend.amount_usd_nanos, 256),
    }
    return _typed_data("ReceiptSpend", _SPEND, message, chain_id, authority)


def claim_typed_data(claim: ClaimMessage, chain_id: int, authority: str) -> TypedData:
    """As `mandate_typed_data`, for a transfer that pays for something."""
    message = {
        "paymentId": _text("paymentId", claim.payment_id),
        "transactionHash": _bytes32("transactionHash", claim.tx_hash),
    }
    return _typed_data("TransferClaim", _CLAIM, message, chain_id, authority)


def refund_typed_data(receipt_id: str, chain_id: int, authority: str) -> TypedData:
    """As `mandate_typed_data`, for the payer's wish to have back what a receipt has left."""
    return _typed_data("ReceiptRefund", _REFUND, {"receiptId": _text("receiptId", receipt_id)}, chain_id, authority)


def constraints_hash(constraints: Mapping[str, Any]) -> bytes:
    """SHA-256 of the JCS form (RFC 8785) of the constraints that have no member of their own; zero where there is none.

    Takes them in their hashed form: JSON names, amounts as `…_usd_nanos` decimal strings, times as Unix seconds,
    lists as given, addresses lower case. Raises InvalidInput for what JSON cannot say in one way (NaN, 2**53 and up).
    """
    if not constraints:
        return ZERO
    try:
        return hashlib.sha256(rfc8785.dumps(dict(constraints))).digest()
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as problem:
        raise InvalidInput("constraints", f"have no canonical JSON form ({problem})") from None


def digest(typed_data: TypedData) -> bytes:
    """The 32 bytes that are signed. Only for typed data of this module's making: encoders differ on anybody else's."""
    from eth_utils.crypto import keccak

    encoded = _encoded(typed_data)
    return keccak(b"\x19" + encoded.version + encoded.header + encoded.body)


def sign(typed_data: TypedData, account: LocalAccount) -> str:
    """The account's signature: 0x, 65 bytes in hex, low s, v of 27 or 28."""
    return "0x" + account.sign_message(_encoded(typed_data)).signature.hex()


def recover(typed_data: TypedData, signature: str | bytes) -> str:
    """The address (EIP-55) that signed. Raises SignatureInvalid (see `secp256k1.normalise` for the accepted form)."""
    return secp256k1.recover(digest(typed_data), signature)


def _encoded(typed_data: TypedData) -> SignableMessage:
    from eth_account.messages import encode_typed_data

    return encode_typed_data(full_message=typed_data)


def _typed_data(
    primary: str, fields: list[dict[str, str]], message: dict[str, Any], chain_id: int, authority: str
) -> TypedData:
    salt = hashlib.sha256(_text("authority", authority).encode()).digest()
    return {
        "types": {"EIP712Domain": _copy(_DOMAIN), primary: _copy(fields)},
        "primaryType": primary,
        "domain": {"name": "agentnode", "version": "1", "chainId": chain_id, "salt": "0x" + salt.hex()},
        "message": message,
    }


def _copy(fields: list[dict[str, str]]) -> list[dict[str, str]]:
    return [dict(field) for field in fields]


# Encoders differ on null for a string, floats, booleans, short bytes and lone surrogates: none of them gets through.


def _text(param: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(param, "must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(param, "must be text that UTF-8 can carry") from None
    return value


def _uint(param: str, value: Any, bits: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(param, "must be an integer")
    if not 0 <= value < 2**bits:
        raise InvalidInput(param, f"must be between 0 and 2**{bits} - 1")
    return str(value)


def _bytes32(param: str, value: Any) -> str:
    if not isinstance(value, bytes) or len(value) != 32:
        raise InvalidInput(param, "must be 32 bytes")
    return "0x" + value.hex()
