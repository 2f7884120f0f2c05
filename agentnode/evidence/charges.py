"""What metered work came to, in the seller's signed words: usage, the price list's version with its rates, the amount.

Anybody can compute the amount again: each part of the usage times its rate, summed, divided by a million tokens and
rounded up to a whole nano once (`engine.cost_usd_nanos`).
"""

from __future__ import annotations

from typing import Any

from agentnode.evidence.bundle import Signer
from engine import ModelPrice, Models, ModelUnknown
from ledger.clock import SECOND_US
from ledger.errors import NotFound
from ledger.events import EconomicEvent, Events
from ledger.money import usd_fields

CHARGE_TYP = "agentnode-charge+jwt"
PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
"""Of usage and rates, in the order of `engine.Usage.parts`."""


class Charges:
    def __init__(self, events: Events, signer: Signer, models: Models) -> None:
        self._events, self._signer, self._models = events, signer, models

    async def of(self, receipt_id: str, event_id: str) -> dict[str, Any]:
        """`{object, id, receipt_id, cost_usd, cost_usd_exact, statement}`: the statement is a compact JWS.

        Raises NotFound for an event that took nothing from this receipt: both ids together are the payer's secret.
        """
        event = await self._events.get(event_id)
        if event.receipt_id != receipt_id or event.kind != "engine_call":
            raise NotFound(f"receipt {receipt_id} was charged nothing by {event_id}")
        claims = {"iss": self._signer.did, **charge_claims(event, self._rates(event))}
        return {
            "object": "charge",
            "id": event.id,
            "receipt_id": receipt_id,
            **usd_fields("cost_usd", event.cost_usd_nanos),
            "statement": self._signer.sign(claims, CHARGE_TYP),
        }

    def _rates(self, event: EconomicEvent) -> ModelPrice | None:
        """The price that it was charged at, while that is in the list; its version tells afterwards too."""
        try:
            price = self._models.one(event.model or "").price
        except ModelUnknown:
            return None
        return price if price.version == event.price_version else None


def charge_claims(event: EconomicEvent, price: ModelPrice | None) -> dict[str, Any]:
    """Numbers of tokens are integers, nanos decimal strings."""
    used = (
        *(event.input_tokens, event.cached_input_tokens, event.cache_write_tokens),
        *(event.output_tokens, event.reasoning_tokens),
    )
    rates = None
    if price is not None:
        rates = {
            part: {"base": str(rate.base), "steps": [[more_than, str(then)] for more_than, then in rate.steps]}
            for part, rate in zip(PARTS, price.rates, strict=True)
        }
    return {
        "version": 1,
        "iat": event.at_us // SECOND_US,
        "jti": event.id,
        "receipt_id": event.receipt_id,
        "payment_id": event.payment_id,
        "provider": event.provider,
        "model": event.model,
        "usage": dict(zip(PARTS, used, strict=True)),
        "estimated": event.estimated,
        "price": {"version": event.price_version, "usd_nanos_per_mtok": rates},
        "cost_usd_nanos": str(event.cost_usd_nanos),
    }
