"""The mandates in a bundle were granted, and each use of one covers the payment that was made under it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentnode.evidence.bundle import Bundle
from agentnode.evidence.checks import Broken, Check, check, equal
from agentnode.evidence.purchases import Calls, events_in, payment_of
from ledger.clock import seconds
from trust.signatures import eip712, jws

MANDATE_TOKEN_TYP = "mandate-use+jwt"
PAYMENT_WINDOW_S = 120
"""How long what was signed at the last moment of a mandate or a token can still be taken: a buyer's signature, once
given, is not the buyer's to take back."""

_ACCOUNT = re.compile(r"(?:did:pkh:eip155:[0-9]+:)?(0x[0-9a-f]{40})", re.ASCII | re.IGNORECASE)


def check_authority(bundle: Bundle, calls: Calls) -> Iterator[Check]:
    for line in bundle.of("mandate"):
        yield check(line, "its grantor signed exactly these limits", _granted, line.object)
    for line in bundle.of("mandate_use"):
        yield check(line, "the authority allowed it, within the mandate", _within, line.object, bundle)
        yield check(line, "it covers the payment: amount, payee, payer and time", _covers, line.object, bundle, calls)


def _granted(entry: dict[str, Any]) -> None:
    typed = _rebuilt(entry)
    equal("digest", entry.get("digest"), "0x" + eip712.digest(typed).hex())
    signer = eip712.recover(typed, str(entry["signature"])).lower()
    equal("grantor", str(typed["message"]["grantor"]).rsplit(":", 1)[-1], signer)


def _within(entry: dict[str, Any], bundle: Bundle) -> None:
    mandate = _mandate_of(entry, bundle)
    message, claims = mandate["typed_data"]["message"], _allowed(entry, mandate)
    allowed, used = int(claims["amount_usd_nanos"]), int(entry["amount_usd_nanos"])
    equal("mandate", claims["mandate"], entry["mandate_id"])
    equal("mandate_digest", claims["mandate_digest"], mandate["digest"])
    equal("use", claims["use"], entry["use_id"])
    if used > allowed or allowed > int(message["maxAmountUsdNanos"]):
        raise Broken(f"{used} nanos were used, {allowed} allowed, {message['maxAmountUsdNanos']} granted")
    if message["payees"] and claims["payee"] not in message["payees"]:
        raise Broken(f"the payee {claims['payee']} is not among those granted")


def _covers(entry: dict[str, Any], bundle: Bundle, calls: Calls) -> None:
    mandate = _mandate_of(entry, bundle)
    message, claims = mandate["typed_data"]["message"], _allowed(entry, mandate)
    event = _event_of(entry, bundle)
    payment = payment_of(event, bundle)
    equal("price_usd_nanos", int(payment["price_usd_nanos"]), int(entry["amount_usd_nanos"]))
    for name, account in (("payee", _account(claims["payee"])), ("payer", _account(message["agent"]))):
        if account:
            equal(name, payment[name].lower(), account)
    booked_s, call = seconds(int(event["at_us"])), calls.get(str(payment["tx_hash"]))
    if booked_s < int(message["validFrom"]):
        raise Broken(f"it was booked at {booked_s}, and the mandate begins at {message['validFrom']}")
    # After a crash an event can be booked long after the payment, but none was taken after the transfer's own end.
    paid_s = min(booked_s, call.valid_before_s) if call else booked_s
    for name, end_s in (("mandate", int(message["validUntil"])), ("token", int(claims["exp"]))):
        if paid_s > end_s + PAYMENT_WINDOW_S:
            raise Broken(f"it was paid at {paid_s}, and the {name} ended at {end_s}")


def _mandate_of(entry: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    mandates = [line.object for line in bundle.of("mandate")]
    mandate = next((m for m in mandates if m.get("mandate_id") == entry.get("mandate_id")), None)
    if mandate is None:
        raise Broken("its mandate is not in the bundle")
    return mandate


def _allowed(entry: dict[str, Any], mandate: dict[str, Any]) -> dict[str, Any]:
    """What the mandate's authority signed of this use."""
    authority = str(mandate["typed_data"]["message"]["authority"])
    return jws.verify(str(entry["token"]), did=authority, typ=MANDATE_TOKEN_TYP)


def _event_of(entry: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """The one event that names this use: a use pays once."""
    use = entry["mandate_id"], entry["use_id"]
    named = [event for event in events_in(bundle) if (event.get("mandate_id"), event.get("mandate_use_id")) == use]
    if len(named) != 1:
        raise Broken(f"{len(named)} events in the bundle name this use, and it pays once")
    return named[0]


def _account(name: object) -> str | None:
    """The address that an address or a did:pkh names; None for every other name."""
    match = _ACCOUNT.fullmatch(name) if isinstance(name, str) else None
    return match[1].lower() if match else None


def _rebuilt(entry: dict[str, Any]) -> eip712.TypedData:
    """The typed data made anew from its message: encoders differ on anything that we would not make ourselves."""
    given = entry["typed_data"]
    message = given["message"]
    typed = eip712.mandate_typed_data(
        eip712.MandateMessage(
            kind=message["kind"],
            grantor=message["grantor"],
            agent=message["agent"],
            max_amount_usd_nanos=int(message["maxAmountUsdNanos"]),
            categories=message["categories"],
            payees=message["payees"],
            valid_from_s=int(message["validFrom"]),
            valid_until_s=int(message["validUntil"]),
            nonce=bytes.fromhex(message["nonce"].removeprefix("0x")),
            constraints_hash=bytes.fromhex(message["constraintsHash"].removeprefix("0x")),
            parent=bytes.fromhex(message["parent"].removeprefix("0x")),
        ),
        int(given["domain"]["chainId"]),
        message["authority"],
    )
    equal("typed_data", typed, given)
    return typed
