"""An ASGI application that is paid for: a request with a price is passed on once it is paid, and charged once answered.

What fails leaves the payment on its receipt: an exception, and every answer from 400 on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentnode.payments import (
    LONGEST_KEPT,
    HttpGate,
    Offer,
    Pricing,
    Reply,
    Sale,
    disconnected,
    refused,
    request_hash,
)
from ledger.errors import AgentNodeError, InvalidInput
from ledger.spend import Hold

MAX_BODY_BYTES = 10_000_000
"""Of a request: what is bought is known by it, so it is read whole before its price is asked."""


@dataclass(frozen=True)
class RoutePrice:
    what: str
    """is sold, as the offer says it"""
    pricing: Pricing


PriceOf = Callable[[Scope], RoutePrice | None]
"""What a request costs; None: nothing. It may refuse one."""


class Paid:
    def __init__(self, app: ASGIApp, gate: HttpGate, price_of: PriceOf, origin: str) -> None:
        """`origin` (`https://host`) is where this application is found: what is bought is named by its URL."""
        self._app, self._gate, self._price_of, self._origin = app, gate, price_of, origin.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            price = self._price_of(scope) if scope["type"] == "http" else None
        except AgentNodeError as refusal:
            return await refused(refusal).send(send)
        if price is None:
            return await self._app(scope, receive, send)
        try:
            raw = await _body(receive)
            offer = await self._offer(price, scope, raw)
            sale = await self._gate.take(offer, scope["headers"])
        except AgentNodeError as refusal:
            return await refused(refusal).send(send)
        if isinstance(sale, Reply):
            return await sale.send(send)
        answer = _Answer(send, sale)
        try:
            await self._sell(offer, sale, scope, raw, receive, answer)
        except _Unsold:
            await answer.end()
        except AgentNodeError as failure:
            if answer.began:
                raise
            await refused(failure, sale.headers).send(send)
        return None

    async def _offer(self, price: RoutePrice, scope: Scope, raw: bytes) -> Offer:
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"]
        priced = await price.pricing.of(raw.decode(errors="replace"), {})
        if priced.version and any(name == b"content-encoding" for name, _ in scope["headers"]):
            raise InvalidInput("Content-Encoding", "must be absent: what this costs is counted in the body as it is")
        return Offer(
            price_usd_nanos=priced.usd_nanos,
            resource=self._origin + path + (f"?{query.decode('latin-1')}" if query else ""),
            description=f"{price.what}, {price.pricing.terms}. {priced.says}".strip(),
            price_version=priced.version,
            input_hash=request_hash(scope["method"], path, query, raw),
        )

    async def _sell(
        self, offer: Offer, sale: Sale, scope: Scope, raw: bytes, receive: Receive, answer: _Answer
    ) -> None:
        async with self._gate.at_work(sale), self._gate.held(offer, sale) as hold:
            stayed = await self._answered(scope, raw, receive, answer)
            if not answer.sells(stayed):
                raise _Unsold
            await self._charged(sale, hold, answer, stayed)

    async def _charged(self, sale: Sale, hold: Hold, answer: _Answer, stayed: bool) -> None:
        """Kept first: who is charged for an answer can have it, whatever becomes of this process."""
        await self._gate.done(sale, answer.whole() if stayed else None)
        await self._gate.charge(sale, hold)
        try:
            await answer.end()
        finally:
            await self._gate.sent(sale, stayed)

    async def _answered(self, scope: Scope, raw: bytes, receive: Receive, answer: _Answer) -> bool:
        """Whether the caller was there to the end; the work is stopped where it was not."""
        left = asyncio.Event()
        given = False

        async def again() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": raw, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        work = asyncio.ensure_future(self._app(scope, again, answer.send))
        leaving = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                left.set()
                work.cancel()
                await asyncio.wait({work})
                return False
            work.result()
            return True
        finally:
            leaving.cancel()
            work.cancel()


class _Answer:
    """What the application sends, with the settlement in its head. Its last part is held back until the books are
    right: who has read it all finds them so."""

    def __init__(self, send: Send, sale: Sale) -> None:
        self._send, self._sale = send, sale
        self._head: Message | None = None
        self._parts: list[bytes] | None = []
        self._size = 0
        self._stated: int | None = None
        self._last: Message | None = None

    @property
    def began(self) -> bool:
        return self._head is not None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            sold = int(message["status"]) < 400
            told = self._sale.headers_of_delivery if sold else self._sale.headers
            self._head = {**message, "headers": [*message["headers"], *told]}
            self._stated = next((int(value) for name, value in message["headers"] if name == b"content-length"), None)
            await self._send(self._head)
        elif message["type"] == "http.response.body" and self._last is None:
            self._keep(message.get("body", b""))
            # Of a stated length a client waits for no end: what completes it is the last.
            if message.get("more_body", False) and (self._stated is None or self._size < self._stated):
                await self._send(message)
            else:
                self._last = {**message, "more_body": False}

    def sells(self, stayed: bool) -> bool:
        """It is what was paid for: whole and no failure, or left by its caller when some of it had come."""
        if not self.began or self._status >= 400:
            return False
        return self._last is not None if stayed else self._size > 0

    def whole(self) -> Reply | None:
        """For who was gone before it came; None where it is too long."""
        if self._parts is None or self._head is None:
            return None
        return Reply(self._status, self._head["headers"], b"".join(self._parts))

    async def end(self) -> None:
        if self._last is not None:
            await self._send(self._last)

    @property
    def _status(self) -> int:
        assert self._head is not None, "the application sent no head"
        return int(self._head["status"])

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LONGEST_KEPT:
            self._parts = None
        elif self._parts is not None:
            self._parts.append(part)


class _Unsold(Exception):
    """The answer is a failure, or its caller left before any of it came: the payment stays on the receipt."""


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise InvalidInput("body", f"must have at most {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)
