"""Answers over HTTP, and each refusal as one: our error, or x402's where a payment or a signature cures it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Send

from agentnode.payments.asking.offer_receipt import NAME as OFFER_RECEIPT
from agentnode.payments.errors import PaymentNeeded, PaymentRefused, SettlementPending, SignInNeeded
from agentnode.payments.taking.headers import Header, encoded
from ledger.errors import AgentNodeError


@dataclass(frozen=True)
class Reply:
    """An answer as it was given, or is to be given."""

    status: int
    headers: Sequence[Header]
    content: bytes

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.content})

    def packed(self) -> bytes:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        return orjson.dumps({"status": self.status, "headers": headers}) + b"\n" + self.content

    @classmethod
    def unpacked(cls, kept: bytes) -> Reply:
        head, _, content = kept.partition(b"\n")
        said = orjson.loads(head)
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in said["headers"])
        return cls(said["status"], headers, content)


async def disconnected(receive: Receive) -> None:
    """Until the caller, whose request was read, has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def refused(error: AgentNodeError, more: Sequence[Header] = ()) -> Reply:
    """`more`: headers that the answer has besides."""
    if isinstance(error, PaymentNeeded):
        reply = _payment_required(error)
    elif isinstance(error, SignInNeeded):
        reply = _sign_in_required(error)
    else:
        # In ASCII: a message that quotes what was sent can hold text that has no UTF-8.
        content = json.dumps({"error": error.as_dict()}).encode()
        reply = Reply(error.status, [(b"content-type", b"application/json")], content)
    length = (b"content-length", b"%d" % len(reply.content))
    return Reply(reply.status, [*reply.headers, length, *_what_next(error), *more], reply.content)


def _what_next(error: AgentNodeError) -> list[Header]:
    """OpenAI's SDKs try again by themselves: they are told when that helps, and where it does not."""
    headers: list[Header] = []
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1_000)))
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
    if not error.should_retry or (error.status == 409 and error.retry_after_ms is None):
        headers.append((b"x-should-retry", b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, SettlementPending):
        headers.append((b"location", error.location.encode()))
    return headers


def _payment_required(needed: PaymentNeeded) -> Reply:
    """The 402: x402's object of version 2 in the header, and that of the lowest version that is spoken as the body.

    Clients of version 1 read the body; those that know both take the header where there is one.
    """
    asked, versions = needed.required, needed.required.x402_versions
    newest, told = (2, b"payment-response") if 2 in versions else (1, b"x-payment-response")
    required = asked.as_x402(2, needed.problem, extensions=needed.extensions)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"access-control-expose-headers", b"PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE"),
    ]
    if 2 in versions:
        headers.append((b"payment-required", encoded(required)))
    if isinstance(needed.refusal, PaymentRefused):
        failed = {
            "success": False,
            "errorReason": needed.refusal.x402_code,
            "errorMessage": needed.refusal.reason,
            "transaction": "",
            "network": asked.network_name(newest),
        }
        headers.append((told, encoded(failed)))
    signed = {name: said for name, said in needed.extensions.items() if name == OFFER_RECEIPT}
    body = asked.as_x402(1, needed.problem, extensions=signed) if 1 in versions else required
    return Reply(402, tuple(headers), orjson.dumps(body))


def _sign_in_required(needed: SignInNeeded) -> Reply:
    """A 402 that no payment cures: our error is its body, and x402's object in the header asks for nothing but who."""
    asked = {
        "x402Version": 2,
        "error": needed.message,
        "resource": {"url": needed.resource, "description": "", "mimeType": "application/json"},
        "accepts": [],
        "extensions": dict(needed.extensions),
    }
    headers = [
        (b"content-type", b"application/json"),
        (b"payment-required", encoded(asked)),
        (b"cache-control", b"no-store"),
        (b"access-control-expose-headers", b"PAYMENT-REQUIRED"),
    ]
    return Reply(402, tuple(headers), orjson.dumps({"error": needed.as_dict()}))
