"""What the seller says it received: its signed receipt, held against what the buyer signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agentnode.hire.cards import read_object
from agentnode.hire.tables import HireCall
from agentnode.payments import RECEIPT_TYP
from ledger.errors import AgentNodeError
from trust.errors import SignatureInvalid
from trust.signatures import jws
from trust.web import GuardedClient

_JWKS = "/.well-known/jwks.json"


async def checked_receipt(call: HireCall, receipt: Mapping[str, Any] | None, web: GuardedClient) -> str:
    """The seller's compact JWS if a key that its origin publishes signed it and it states this payment; else empty.

    It proves who acknowledged the payment. Whether money moved, only the chain proves.
    """
    token = receipt.get("receipt") if receipt else None
    if not isinstance(token, str) or not token:
        return ""
    parts = urlsplit(call.card_url)
    try:
        reply = await web.get(urlunsplit((parts.scheme, parts.netloc, _JWKS, "", "")), headers={})
        claims = jws.verify(token, jwks=read_object(reply, "key set"), typ=RECEIPT_TYP)
    except (AgentNodeError, SignatureInvalid):
        return ""
    return token if states(call, claims) else ""


def states(call: HireCall, claims: Mapping[str, Any]) -> bool:
    """Whether a receipt's claims name this task, or this resource, and this payment. Pure."""
    expected = {
        "payer": call.payer,
        "payee": call.payee,
        "asset": call.asset,
        "network": call.network,
        "amount": call.amount_atomic,
        **({"resource": call.card_url} if call.is_http else {"task_id": call.task_id}),
    }
    return all(str(claims.get(name)).lower() == value.lower() for name, value in expected.items())
