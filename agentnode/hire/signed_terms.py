"""What a seller has signed of its price and its delivery (x402's `offer-receipt`), held against what is agreed.

Source: x402 specification, extensions/extension-offer-and-receipt. A JWS counts where a key signed it that the origin
of the resource publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from agentnode.hire.cards import read_object
from agentnode.hire.errors import OfferUnpayable
from agentnode.hire.quote import Quote
from agentnode.hire.tables import HireCall
from agentnode.payments.asking.offer_receipt import NAME
from ledger.errors import AgentNodeError
from trust.errors import SignatureInvalid
from trust.signatures import jws
from trust.web import GuardedClient

_JWKS = "/.well-known/jwks.json"
_MOST = 16


async def checked_offer(required: Any, quote: Quote, url: str, network: str, web: GuardedClient) -> str:
    """The seller's signed offer of this price, as JSON; empty where none holds.

    Raises OfferUnpayable where it has signed another price for the same: then what it asks is not its word.
    """
    keys = PublishedKeys(url, web)
    offers = _info(required).get("offers")
    other = False
    for signed in offers[:_MOST] if isinstance(offers, list) else []:
        payload = await keys.payload(signed)
        if payload is None or not _is_for(payload, quote, network):
            continue
        if payload.get("amount") == str(quote.amount_atomic):
            return orjson.dumps(signed).decode()
        other = True
    if other:
        raise OfferUnpayable("the seller asks another amount than its own signed offer says")
    return ""


async def checked_delivery(call: HireCall, settled: Mapping[str, Any] | None, web: GuardedClient) -> str:
    """The seller's signed word that it delivered what this call paid for, as JSON; empty where it does not hold."""
    signed = _info(settled).get("receipt")
    payload = await PublishedKeys(call.card_url, web).payload(signed) if call.is_http and signed is not None else None
    if payload is None:
        return ""
    same = payload.get("network") == call.network and payload.get("resourceUrl") == call.card_url
    return orjson.dumps(signed).decode() if same and str(payload.get("payer")).lower() == call.payer else ""


class PublishedKeys:
    """The keys of the origin of one resource, fetched once and only where something is signed."""

    def __init__(self, url: str, web: GuardedClient) -> None:
        parts = urlsplit(url)
        self._at, self._web = urlunsplit((parts.scheme, parts.netloc, _JWKS, "", "")), web
        self._jwks: dict[str, Any] | None = None

    async def payload(self, signed: Any) -> dict[str, Any] | None:
        """What was signed; None where it was not by who may."""
        if not isinstance(signed, Mapping) or signed.get("format") != "jws":
            return None
        try:
            if self._jwks is None:
                self._jwks = read_object(await self._web.get(self._at, headers={}), "key set")
            payload = jws.verify(str(signed.get("signature")), jwks=self._jwks)
        except (AgentNodeError, SignatureInvalid):
            return None
        return payload if payload.get("version") == 1 else None


def _info(holder: Any) -> Mapping[str, Any]:
    """The extension's `info` in an x402 object."""
    for name in ("extensions", NAME, "info"):
        holder = holder.get(name) if isinstance(holder, Mapping) else None
    return holder if isinstance(holder, Mapping) else {}


def _is_for(payload: Mapping[str, Any], quote: Quote, network: str) -> bool:
    accepted, resource = quote.accepted, quote.resource
    url = resource.get("url") if isinstance(resource, Mapping) else accepted.get("resource")
    return (
        (payload.get("scheme"), payload.get("network"), payload.get("resourceUrl")) == ("exact", network, url)
        and str(payload.get("asset")).lower() == str(accepted.get("asset")).lower()
        and str(payload.get("payTo")).lower() == quote.pay_to
    )
