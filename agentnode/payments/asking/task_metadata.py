"""The a2a-x402 extension's metadata: what stands on status messages and what a client's message says. Pure.

Source: a2a-x402 specification v0.1 and v0.2 (states and keys), wire.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import PaymentRefused
from agentnode.payments.receipts.receipt import Receipt

V0_2_URI = "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2"
V0_1_URI = "https://github.com/google-a2a/a2a-x402/v0.1"
TAG_URI = "tag:x402.org,2025:x402-payment"
X402_EXTENSION_URIS = (V0_2_URI, V0_1_URI, TAG_URI)

STATUS = "x402.payment.status"
REQUIRED = "x402.payment.required"
PAYLOAD = "x402.payment.payload"
RECEIPTS = "x402.payment.receipts"
ERROR = "x402.payment.error"
VERSION = "x402.version"


@dataclass(frozen=True)
class Submission:
    """What a client's message says of a payment: `payment-submitted` with a payload, or `payment-rejected`."""

    status: str
    payload: Any


def read_submission(metadata: Mapping[str, Any] | None) -> Submission | None:
    """The payment on a client's message, or None where it speaks of none."""
    if not metadata or metadata.get(STATUS) not in ("payment-submitted", "payment-rejected"):
        return None
    return Submission(metadata[STATUS], metadata.get(PAYLOAD))


def version_for(activated: Iterable[str], metadata: Mapping[str, Any] | None = None) -> int:
    """Which version's objects the client reads: what it says, else 1 under the two GitHub URIs, else 2."""
    said = (metadata or {}).get(VERSION)
    if said in (1, 2):
        return int(said)
    uris = set(activated)
    if TAG_URI in uris or not uris & {V0_1_URI, V0_2_URI}:
        return 2
    return 1


def required_metadata(requirement: PaymentRequirement, version: int) -> dict[str, Any]:
    return {STATUS: "payment-required", REQUIRED: requirement.as_x402(version)}


def failed_metadata(requirement: PaymentRequirement, refused: PaymentRefused, version: int) -> dict[str, Any]:
    """A refused payload: the requirement stands again, since a right payload still pays."""
    return {
        STATUS: "payment-failed",
        ERROR: refused.x402_code,
        RECEIPTS: [_failure(requirement, refused, version)],
        REQUIRED: requirement.as_x402(version, error=refused.message),
    }


def rejected_metadata() -> dict[str, Any]:
    return {STATUS: "payment-rejected"}


def expired_metadata(requirement: PaymentRequirement, version: int) -> dict[str, Any]:
    late = PaymentRefused("EXPIRED_PAYMENT", "the quote has expired")
    return {STATUS: "payment-failed", ERROR: late.x402_code, RECEIPTS: [_failure(requirement, late, version)]}


def verified_metadata() -> dict[str, Any]:
    return {STATUS: "payment-verified"}


def completed_metadata(receipts: Sequence[Receipt], version: int) -> dict[str, Any]:
    return {STATUS: "payment-completed", RECEIPTS: [receipt.as_x402(version) for receipt in receipts]}


def without_payload(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as it may be kept and echoed: a payload carries a signature that is the payer's alone."""
    return {key: value for key, value in metadata.items() if key != PAYLOAD}


def _failure(requirement: PaymentRequirement, refused: PaymentRefused, version: int) -> dict[str, Any]:
    return {
        "success": False,
        "errorReason": refused.x402_code,
        "errorMessage": refused.reason,
        "transaction": "",
        "network": requirement.network_name(version),
        "payer": None,
    }
