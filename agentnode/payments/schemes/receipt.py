"""The `receipt` scheme: what was paid and not used buys later work of the same seller. Pure but for the signature.

The payer signs each spend as EIP-712 typed data, in the node's domain (as mandates are):
`ReceiptSpend(string receiptId,uint256 counter,string quoteId,uint256 amountUsdNanos)`. The quote binds the request, its
price and an end; the counter makes two spends of one quote two signatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import ChainIdMismatch, PaymentRefused
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.schemes.payload import SentPayment
from trust.signatures import eip712

_RECEIPT = re.compile(r"rcpt_[0-9a-zA-Z_]{8,80}", re.ASCII)
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){65,4096}", re.ASCII)
AHEAD = 64
"""How far a counter may be ahead of the last one, so that spends sent together may arrive in any order."""


@dataclass(frozen=True)
class ReceiptSpend:
    receipt_id: str
    counter: int
    signature: str

    def digest(self, asked: PaymentRequirement, chain_id: int, authority: str) -> bytes:
        return eip712.digest(spend_typed_data(self.receipt_id, self.counter, asked, chain_id, authority))


def spend_typed_data(
    receipt_id: str, counter: int, asked: PaymentRequirement, chain_id: int, authority: str
) -> eip712.TypedData:
    """What the payer signs; `authority` is the DID that issued the receipt."""
    spend = eip712.SpendMessage(receipt_id, counter, asked.quote_id, worth_usd_nanos(asked))
    return eip712.spend_typed_data(spend, chain_id, authority)


def check_network(receipt: Receipt, network: str) -> None:
    """Raises ChainIdMismatch for what was paid on another chain, such as test money, before the node was on this."""
    if receipt.network != network:
        raise ChainIdMismatch(f"{receipt.id} was paid on {receipt.network}, and this node is on {network}")


def worth_usd_nanos(asked: PaymentRequirement) -> int:
    """What `amount` is worth: a price is rounded up to whole atomic units, once, whoever pays it how."""
    return asked.asset.nanos_from_atomic(asked.amount_atomic)


def read_spend(sent: SentPayment, asked: PaymentRequirement) -> ReceiptSpend:
    """Raises PaymentRefused naming the member that is malformed, or names other terms."""
    if sent.is_v2:
        accepted = sent.accepted
        if accepted.get("network") != asked.asset.network:
            raise PaymentRefused("NETWORK_MISMATCH", f"accepted.network is not {asked.asset.network}")
        if str(accepted.get("amount")) != str(asked.amount_atomic):
            raise PaymentRefused("INVALID_AMOUNT", f"accepted.amount is not {asked.amount_atomic}")
    receipt_id, counter, signature = (sent.inner.get(name) for name in ("receiptId", "counter", "signature"))
    if not isinstance(receipt_id, str) or not _RECEIPT.fullmatch(receipt_id):
        raise PaymentRefused("SETTLEMENT_FAILED", "receiptId is missing or malformed")
    if isinstance(counter, float) and counter.is_integer():
        counter = int(counter)  # A2A metadata is a protobuf Struct, where every number is a float
    if isinstance(counter, bool) or not isinstance(counter, int) or not 0 < counter < 2**53:
        raise PaymentRefused("SETTLEMENT_FAILED", "counter must be a positive integer")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise PaymentRefused("INVALID_SIGNATURE", "signature is missing or malformed")
    return ReceiptSpend(receipt_id, counter, signature.lower())
