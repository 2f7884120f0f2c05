"""What a task costs, as both versions of x402 say it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentnode.payments.networks import v1_name
from ledger.clock import SECOND_US
from ledger.money import Asset


@dataclass(frozen=True)
class Terms:
    """The operator's settings for being paid."""

    quote_life_s: int = 600
    max_timeout_s: int = 300
    """How long a payer's authorisation is asked to be valid."""
    settle_timeout_s: float = 30.0
    """How long a request waits for the chain before it is answered SETTLEMENT_PENDING."""


@dataclass(frozen=True)
class PaymentRequirement:
    """One price for one task: `payment_id` names it, `quote_id` binds price and input.

    Two payers may try; the first whose payload is journaled wins.
    """

    payment_id: str
    task_id: str
    quote_id: str
    price_usd_nanos: int
    amount_atomic: int
    asset: Asset
    pay_to: str
    resource: str
    description: str
    input_hash: str
    expires_at_us: int
    max_timeout_s: int

    def expired(self, now_us: int) -> bool:
        return now_us >= self.expires_at_us

    def network_name(self, version: int) -> str:
        return v1_name(self.asset.network) if version == 1 else self.asset.network

    def accepts_v2(self) -> dict[str, Any]:
        """x402 version 2 PaymentRequirements."""
        return {
            "scheme": "exact",
            "network": self.asset.network,
            "asset": self.asset.address,
            "amount": str(self.amount_atomic),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_s,
            "extra": self._extra(),
        }

    def as_x402(self, version: int, error: str = "") -> dict[str, Any]:
        """The PaymentRequired object of x402 `version` 1 or 2."""
        if version == 2:
            return {
                "x402Version": 2,
                "error": error or "Payment required",
                "resource": {"url": self.resource, "description": self.description, "mimeType": "application/json"},
                "accepts": [self.accepts_v2()],
                "extensions": {},
            }
        return {"x402Version": 1, "error": error, "accepts": [self._accepts_v1()]}

    def _accepts_v1(self) -> dict[str, Any]:
        return {
            "scheme": "exact",
            "network": v1_name(self.asset.network),
            "maxAmountRequired": str(self.amount_atomic),
            "resource": self.resource,
            "description": self.description,
            "mimeType": "application/json",
            "outputSchema": None,
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_s,
            "asset": self.asset.address,
            "extra": self._extra(),
        }

    def _extra(self) -> dict[str, Any]:
        return {
            "name": self.asset.name,
            "version": self.asset.version,
            "quoteId": self.quote_id,
            "paymentId": self.payment_id,
            "expiresAt": self.expires_at_us // SECOND_US,
        }
