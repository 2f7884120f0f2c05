"""The `onchain` scheme: the payer sends the token itself, and claims the transfer by its transaction's hash. Pure.

A hash is public, so the sender signs the claim as EIP-712 typed data, in the node's domain (as spends of receipts are):
`TransferClaim(string paymentId,bytes32 transactionHash)`, where `paymentId` is `extra.paymentId` of what was asked, or,
over HTTP, where the payment makes it, `extra.quoteId`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import AssetMismatch, PaymentRefused, TransferMissing, TransferTooOld
from agentnode.payments.schemes.payload import SentPayment, inner_of
from agentnode.payments.settling.journal import Mined
from ledger.clock import seconds
from trust.chain_records import TxReceipt, direct_transfers
from trust.signatures import eip712

_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){65,4096}", re.ASCII)
_NEVER_CLOSES_S = 2**62


@dataclass(frozen=True)
class TransferClaim:
    """`I sent this transaction, and it pays for that`: as a payload says it."""

    tx_hash: str
    signature: str

    def digest(self, claimed_id: str, chain_id: int, authority: str) -> bytes:
        message = eip712.ClaimMessage(claimed_id, bytes.fromhex(self.tx_hash[2:]))
        return eip712.digest(eip712.claim_typed_data(message, chain_id, authority))


@dataclass(frozen=True)
class NamedClaim:
    """A claim in a request's own body, for what `name` names, there since `asked_at_us`. `token` may be empty."""

    name: str
    asked_at_us: int
    token: str
    claim: TransferClaim


@dataclass(frozen=True)
class DirectTransfer:
    """What one sender moved to the payee in one transaction. Its `nonce` in the journal is the transaction's hash."""

    network: str
    asset: str
    payer: str
    payee: str
    amount_atomic: int
    mined: Mined
    mined_at_s: int
    claim: Mapping[str, str]
    """What the sender signed: `{payment_id, authority, signature}`."""

    scheme = "onchain"
    valid_before_s = _NEVER_CLOSES_S

    @property
    def nonce(self) -> str:
        return self.mined.tx_hash


def read_claim(payload: Any, asked: PaymentRequirement) -> tuple[PaymentRequirement, TransferClaim]:
    """The claim, and the requirement in the token that it accepts. Raises PaymentRefused naming what is off."""
    asked = asked.in_token(SentPayment("v2", payload).asset)
    inner = inner_of(payload, asked, "onchain")
    return asked, claim_of(inner.get("txHash"), inner.get("signature"))


def claim_of(tx_hash: Any, signature: Any) -> TransferClaim:
    """Raises PaymentRefused naming the member that is off."""
    if not isinstance(tx_hash, str) or not _HASH.fullmatch(tx_hash):
        raise PaymentRefused("SETTLEMENT_FAILED", "the transaction's hash is missing or malformed")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise PaymentRefused("INVALID_SIGNATURE", "signature is missing or malformed: a hash alone is anybody's")
    return TransferClaim(tx_hash.lower(), signature.lower())


def claimed_id(asked: PaymentRequirement) -> str:
    """What the sender names in its signature."""
    return asked.payment_id or asked.quote_id


def senders(receipt: TxReceipt, asked: PaymentRequirement) -> Mapping[str, int]:
    """`direct_transfers` of what is asked. Raises AssetMismatch and TransferMissing, which say what is there."""
    if not receipt.succeeded:
        raise TransferMissing(f"{receipt.tx_hash} was reverted: it moves nothing")
    sent = direct_transfers(receipt, asked.asset.address, asked.pay_to)
    if sent:
        return sent
    others = {each.token for each in receipt.transfers() if each.payee == asked.pay_to.lower()}
    if others - {asked.asset.address.lower()}:
        raise AssetMismatch(f"the transaction moves {min(others)}, and {asked.asset.address} is asked")
    raise TransferMissing(f"{receipt.tx_hash} has no transfer of {asked.asset.address} to {asked.pay_to} of its own")


def check_transfer(sent: DirectTransfer, asked: PaymentRequirement) -> None:
    """Raises PaymentRefused unless it is worth the price, and younger than it. What is over stays on the receipt."""
    if sent.mined_at_s < seconds(asked.asked_at_us):
        raise TransferTooOld
    if sent.amount_atomic < asked.amount_atomic:
        raise PaymentRefused("INVALID_AMOUNT", f"the transfer is of {sent.amount_atomic}, not {asked.amount_atomic}")
