"""x402's extension `offer-receipt`: the price that is asked, and that the work was delivered, signed by the node's key.

Source: x402 specification, extensions/extension-offer-and-receipt (version 1 of both payloads, JWS).
"""

from __future__ import annotations

from typing import Any

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.receipts.receipt import Receipt, Signer
from ledger.clock import SECOND_US, Clock, seconds

NAME = "offer-receipt"
OFFER_TYP = "x402-offer+jws"
DELIVERY_TYP = "x402-delivery+jws"


class SignedTerms:
    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer, self._clock = signer, clock

    def offered(self, asked: PaymentRequirement) -> dict[str, Any]:
        """The extension of a 402: what an authorisation is asked for. Its other ways to pay have the same price."""
        signed = self._signer.sign(offer_payload(asked), OFFER_TYP)
        offer = {"format": "jws", "acceptIndex": 0, "signature": signed}
        return {NAME: {"info": {"offers": [offer]}, "schema": _schema("offers", {"type": "array", "items": _SIGNED})}}

    def delivered(self, receipt: Receipt, resource: str) -> dict[str, Any]:
        """The extension of a settle response, once the work it was paid for is there."""
        payload = delivery_payload(receipt, resource, seconds(self._clock.now_us()))
        signed = {"format": "jws", "signature": self._signer.sign(payload, DELIVERY_TYP)}
        return {NAME: {"info": {"receipt": signed}, "schema": _schema("receipt", _SIGNED)}}


def offer_payload(asked: PaymentRequirement) -> dict[str, Any]:
    terms = asked.accepts_v2()
    return {
        "version": 1,
        "resourceUrl": asked.resource,
        **{name: terms[name] for name in ("scheme", "network", "asset", "payTo", "amount")},
        "validUntil": asked.expires_at_us // SECOND_US,
    }


def delivery_payload(receipt: Receipt, resource: str, now_s: int) -> dict[str, Any]:
    return {
        "version": 1,
        "network": receipt.network,
        "resourceUrl": resource,
        "payer": receipt.payer,
        "issuedAt": now_s,
        "transaction": receipt.tx_hash,
    }


_SIGNED = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "const": "jws"},
        "acceptIndex": {"type": "integer"},
        "signature": {"type": "string"},
    },
    "required": ["format", "signature"],
}


def _schema(member: str, form: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {member: form},
        "required": [member],
    }
