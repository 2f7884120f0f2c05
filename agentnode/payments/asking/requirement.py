"""What is offered at which price, and how both versions of x402 ask for it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.clock import SECOND_US
from ledger.money import Asset
from trust.networks import network_of

SCHEMES = ("exact", "receipt", "onchain")
"""In the order in which they are offered."""


@dataclass(frozen=True)
class Offer:
    """One piece of work and its price."""

    price_usd_nanos: int
    resource: str
    """the URL that is bought"""
    description: str
    input_hash: str
    """of what is bought, 64 hex digits (`request_hash`)"""
    price_version: str = ""


def request_hash(method: str, path: str, query: bytes, body: bytes) -> str:
    """What a payment over HTTP is for: another method, path, query or body is another purchase."""
    head = f"{method.upper()}\n{path}\n".encode() + query + b"\n"
    return hashlib.sha256(head + hashlib.sha256(body).digest()).hexdigest()


@dataclass(frozen=True)
class Terms:
    """The operator's settings for being paid."""

    quote_life_s: int = 600
    max_timeout_s: int = 300
    """How long a payer's authorisation is asked to be valid."""
    settle_timeout_s: float = 30.0
    """How long a request waits for the chain before it is answered SETTLEMENT_PENDING."""
    refund_window_s: int = 604_800
    """So long after a payment its payer may have back what is left of it."""
    x402_versions: Sequence[int] = (2,)
    """Of x402, in which a 402 over HTTP asks: 2 in the header; 1 as the body, which has room for one of them."""


def schemes_beside(asset: Asset) -> Sequence[str]:
    """How one is paid in that is not the first."""
    return ("exact", "onchain") if asset.has_authorizations else ("onchain",)


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
    price_version: str = ""
    """Which state of the seller's price list it was made from, where there is one."""
    x402_versions: Sequence[int] = (2,)
    refund_window_s: int = 0
    asked_at_us: int = 0
    """A transfer that its sender makes itself pays for it from then on."""
    authority: str = ""
    """The node's did, in whose domain payers sign what they say of receipts and transfers."""
    alternatives: tuple[PaymentRequirement, ...] = ()
    """The same price in other tokens, each paid as it can be (`schemes_beside`)."""
    extensions: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Of x402, as they stand beside the price in version 2."""

    def expired(self, now_us: int) -> bool:
        return now_us >= self.expires_at_us

    def network_name(self, version: int) -> str:
        return network_of(self.asset.network).v1_name if version == 1 else self.asset.network

    def in_token(self, address: str) -> PaymentRequirement:
        """The same price in the token of that address; in its own where there is no such alternative."""
        others = (other for other in self.alternatives if other.asset.address.lower() == address.lower())
        return next(others, self)

    def beside(self, *assets: Asset) -> PaymentRequirement:
        """With the same price in these tokens too."""
        others = (
            replace(self, asset=asset, amount_atomic=asset.atomic_from_nanos(self.price_usd_nanos), alternatives=())
            for asset in assets
        )
        return replace(self, alternatives=tuple(others))

    def accepts_v2(self, scheme: str = "exact") -> dict[str, Any]:
        """x402 version 2 PaymentRequirements."""
        return {
            "scheme": scheme,
            "network": self.asset.network,
            "asset": self.asset.address,
            "amount": str(self.amount_atomic),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_s,
            "extra": self._extra() | ({"authority": self.authority} if scheme == "onchain" else {}),
        }

    def as_x402(
        self,
        version: int,
        error: str = "",
        schemes: Sequence[str] = SCHEMES,
        extensions: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The PaymentRequired object of x402 `version` 1 or 2; of version 1 with the scheme `exact` only."""
        if version == 2:
            return {
                "x402Version": 2,
                "error": error or "Payment required",
                "resource": {"url": self.resource, "description": self.description, "mimeType": "application/json"},
                "accepts": [
                    *(self.accepts_v2(scheme) for scheme in schemes),
                    *(o.accepts_v2(s) for o in self.alternatives for s in schemes_beside(o.asset) if s in schemes),
                ],
                "extensions": dict(extensions or self.extensions),
            }
        said = {"extensions": dict(extensions)} if extensions else {}
        return {"x402Version": 1, "error": error, "accepts": [self._accepts_v1()], **said}

    def _accepts_v1(self) -> dict[str, Any]:
        return {
            "scheme": "exact",
            "network": network_of(self.asset.network).v1_name,
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
        """`paymentId` where there is one before the payment: over HTTP the payment makes it."""
        extra = {
            "name": self.asset.name,
            "version": self.asset.version,
            "quoteId": self.quote_id,
            "inputHash": self.input_hash,
            "expiresAt": self.expires_at_us // SECOND_US,
        }
        if self.refund_window_s:
            extra["refundWindowSeconds"] = self.refund_window_s
        if self.price_version:
            extra["priceVersion"] = self.price_version
        if self.payment_id:
            extra["paymentId"] = self.payment_id
        return extra
