"""Reads the payment that an HTTP request carries: x402 version 2, version 1, or P402's own header. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

import orjson

from agentnode.payments.schemes.payload import Dialect, SentPayment
from ledger.errors import InvalidInput

Header = tuple[bytes, bytes]

LONGEST = 32_768
"""Bytes of a payment header: a contract wallet's signature may have 4,096, in hex, in JSON, in base64."""

_NAMES: dict[bytes, Dialect] = {b"payment-signature": "v2", b"x-payment": "v1", b"x-402-payment": "p402"}
_SHOWN: dict[Dialect, str] = {"v2": "PAYMENT-SIGNATURE", "v1": "X-PAYMENT", "p402": "X-402-Payment"}
_MEMBER = re.compile(r"([a-z]{1,20})=([^;]{1,24000})", re.ASCII)
_COUNTER = re.compile(r"[0-9]{1,15}", re.ASCII)


def read_payment(headers: Iterable[Header]) -> SentPayment | None:
    """The payment among a request's headers (names in lower case), or None.

    Raises InvalidInput naming the header that cannot be read, and where two of them say different things.
    """
    found: SentPayment | None = None
    for name, value in headers:
        dialect = _NAMES.get(name)
        if dialect is None:
            continue
        if len(value) > LONGEST:
            raise InvalidInput(_SHOWN[dialect], f"must have at most {LONGEST} bytes")
        sent = SentPayment(dialect, _p402(value) if dialect == "p402" else _base64_json(value, _SHOWN[dialect]))
        if found is not None and found.payload != sent.payload:
            raise InvalidInput(_SHOWN[dialect], "differs from the other payment on this request; send one of them")
        found = found or sent
    return found


def encoded(document: dict[str, Any]) -> bytes:
    """Base64 JSON, as the headers of x402 carry objects."""
    return base64.b64encode(orjson.dumps(document))


def _base64_json(value: bytes, name: str) -> dict[str, Any]:
    try:
        read = orjson.loads(base64.b64decode(value.strip(), validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        raise InvalidInput(name, "must be base64 of a JSON object") from None
    if not isinstance(read, dict):
        raise InvalidInput(name, "must be base64 of a JSON object")
    return read


def _p402(value: bytes) -> dict[str, Any]:
    """`x402-v1;network=8453;token=0x...;sig=...|tx=...|receipt=...;amount=...` as a version 1 payload.

    `sig` is base64url of the JSON `{signature, authorization}`; beside `receipt` it is the spend's own signature.
    """
    name, text = _SHOWN["p402"], value.decode("latin-1").strip()
    form, *members = text.split(";")
    pairs = [_MEMBER.fullmatch(member.strip()) for member in members]
    if form != "x402-v1" or not all(pairs):
        raise InvalidInput(name, "must be x402-v1;network=...;token=...;sig=...;amount=...")
    said = {pair[1]: pair[2] for pair in pairs if pair}
    if len(said) != len(members):
        raise InvalidInput(name, "names a member twice")
    payload = {"x402Version": 1, "network": f"eip155:{said.get('network')}", "token": said.get("token")}
    if "receipt" in said:
        counter = said.get("counter", "")
        inner: dict[str, Any] = {
            "receiptId": said["receipt"],
            "counter": int(counter) if _COUNTER.fullmatch(counter) else counter,
            "quoteId": said.get("quote"),
            "expiresAt": said.get("expires"),
            "signature": said.get("sig"),
        }
        return payload | {"scheme": "receipt", "amount": said.get("amount"), "payload": inner}
    if "tx" in said:
        inner = {"txHash": said["tx"], "quoteId": said.get("quote"), "signature": said.get("sig")}
        return payload | {"scheme": "onchain", "amount": said.get("amount"), "payload": inner}
    signed = said.get("sig", "").encode("latin-1")
    inner = _base64_json(signed.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(signed) % 4), name)
    return payload | {"scheme": "exact", "amount": said.get("amount"), "payload": inner}
