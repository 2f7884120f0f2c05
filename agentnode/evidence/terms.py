"""What sellers signed of price and delivery (x402's `offer-receipt`) is of the payments in the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentnode.evidence.bundle import Bundle
from agentnode.evidence.checks import Broken, Check, check, equal
from trust.signatures import jws


def check_terms(bundle: Bundle) -> Iterator[Check]:
    for line in bundle.of("offer"):
        yield check(line, "its issuer offered the very price that was paid", _offer, line.object, bundle)
    for line in bundle.of("delivery"):
        yield check(line, "its issuer says that it delivered what was paid", _delivery, line.object, bundle)


def _offer(entry: dict[str, Any], bundle: Bundle) -> None:
    offer = _signed(entry)
    terms = (offer["network"], offer["asset"].lower(), offer["payTo"].lower(), offer["amount"])
    paid = [
        (payment["network"], payment["asset"], payment["payee"], payment["amount_atomic"])
        for payment in (line.object for line in bundle.of("payment"))
    ]
    if terms not in paid:
        raise Broken(f"no payment in the bundle is of {offer['amount']} to {offer['payTo']}")


def _delivery(entry: dict[str, Any], bundle: Bundle) -> None:
    delivery = _signed(entry)
    paid = [
        (payment["network"], payment["payer"], payment["tx_hash"])
        for payment in (line.object for line in bundle.of("payment"))
    ]
    told = (delivery["network"], delivery["payer"].lower())
    if not any(told == (network, payer) and delivery.get("transaction", tx) == tx for network, payer, tx in paid):
        raise Broken("no payment in the bundle is by its payer and of its transaction")


def _signed(entry: dict[str, Any]) -> dict[str, Any]:
    payload = jws.verify(str(entry.get("jws")), did=str(entry.get("issuer")))
    equal("version", payload.get("version"), 1)
    return payload
