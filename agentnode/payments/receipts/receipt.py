"""The seller's word that it was paid: one receipt a payment, signed by the node's key. Pure but for the signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ledger.clock import SECOND_US
from trust.networks import network_of

RECEIPT_TYP = "x402-receipt+jwt"


class Signer(Protocol):
    @property
    def did(self) -> str: ...

    def sign(self, payload: dict[str, Any], typ: str) -> str:
        """A compact JWS by the node's key."""
        ...


@dataclass(frozen=True)
class Receipt:
    """What was paid, by whom, to whom, in which transaction; `jws` says the same under the seller's key."""

    id: str
    payment_id: str
    task_id: str
    payer: str
    payee: str
    amount_atomic: int
    asset: str
    network: str
    tx_hash: str
    block_number: int
    settled_at_us: int
    jws: str
    refundable_until_us: int = 0
    """Until when its payer may have back what is left; 0 where that was never said."""
    void: bool = False
    """The transfer's block was undone: nothing was paid, so far."""

    def as_x402(self, version: int, extensions: dict[str, Any] | None = None) -> dict[str, Any]:
        """x402's settle response of `version`, with our receipt beside the standard members."""
        return {
            "success": not self.void,
            "errorReason": "reorged" if self.void else None,
            "transaction": self.tx_hash,
            "network": network_of(self.network).v1_name if version == 1 else self.network,
            "payer": self.payer,
            "amount": str(self.amount_atomic),
            "receiptId": self.id,
            "receipt": self.jws,
            **({"extensions": extensions} if extensions else {}),
        }


def receipt_claims(receipt: Receipt, issuer: str, resource: str, input_hash: str) -> dict[str, Any]:
    """The claims that the JWS signs: everything that a payer or an auditor needs to find the transfer on chain."""
    return {
        "iss": issuer,
        "iat": receipt.settled_at_us // SECOND_US,
        "jti": receipt.id,
        "payment_id": receipt.payment_id,
        "task_id": receipt.task_id,
        "resource": resource,
        "input_hash": input_hash,
        "payer": receipt.payer,
        "payee": receipt.payee,
        "amount": str(receipt.amount_atomic),
        "asset": receipt.asset,
        "network": receipt.network,
        "transaction": receipt.tx_hash,
        "refundable_until": receipt.refundable_until_us // SECOND_US,
    }
