"""Completions for who has no key and pays for this one with x402: priced at what it can cost, charged what it does.

What is paid and not used stays on the receipt, which buys later work.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Protocol

from starlette.types import Receive, Scope, Send

from agentnode.api.chat.request import ChatOrder, ChatRequest
from agentnode.api.chat.serving import Serving
from agentnode.api.errors import shown_error
from agentnode.payments import HttpGate, Offer, Reply, Sale, disconnected, refused, request_hash
from engine import CompletionRequest, FundsInsufficient, Options, Quote
from ledger.accounts import ANONYMOUS, AccountBook
from ledger.errors import KeyInvalid


class Prices(Protocol):
    async def quote(self, request: CompletionRequest, options: Options = ...) -> Quote: ...


class PayPerCall:
    def __init__(
        self, gate: HttpGate, prices: Prices, serve: Serving, book: AccountBook, origin: str, least_usd_nanos: int
    ) -> None:
        """`least_usd_nanos` is asked in any case: to settle a payment costs gas."""
        self._gate, self._prices, self._serve, self._book = gate, prices, serve, book
        self._origin, self._least_usd_nanos = origin, least_usd_nanos

    async def answer(self, scope: Scope, raw: bytes, receive: Receive, send: Send, request_id: str) -> None:
        """Raises PaymentNeeded, and what stands in the way before anything was paid."""
        asked = _read(raw)
        quote = await self._prices.quote(asked.request, asked.options)
        offer = Offer(
            price_usd_nanos=max(quote.bound_usd_nanos, self._least_usd_nanos),
            resource=self._origin + scope["path"],
            description=f"A chat completion by {quote.model}: at most this, what is not used stays on the receipt",
            input_hash=request_hash(scope["method"], scope["path"], scope["query_string"], raw),
            price_version=quote.price_version,
        )
        sale = await self._gate.take(offer, scope["headers"])
        if isinstance(sale, Reply):
            return await sale.send(send)
        try:
            await self._serve_paid(asked, offer, sale, receive, send, request_id)
        except Exception as error:
            head = [*sale.headers, (b"x-p402-request-id", request_id.encode())]
            await refused(shown_error(error, f"in {request_id}"), head).send(send)

    async def _serve_paid(
        self, asked: ChatRequest, offer: Offer, sale: Sale, receive: Receive, send: Send, request_id: str
    ) -> None:
        serve = self._streamed if asked.is_streamed else self._whole
        with contextlib.suppress(_Left):
            try:
                async with self._gate.at_work(sale):
                    account = await self._book.open_payer(sale.payer, sale.purse_id)
                    assert account.tenant_id == ANONYMOUS.tenant_id
                    # What one payer was answered is nobody else's.
                    options = replace(asked.options, cache=False, max_cost_usd_nanos=sale.price_usd_nanos)
                    paid = {"receipt_id": sale.receipt.id, "payment_id": sale.receipt.payment_id}
                    await serve(asked.on(account, options, request_id, **paid), sale, receive, send)
            except FundsInsufficient as refusal:
                raise self._gate.needed(offer, refusal) from refusal

    async def _streamed(self, order: ChatOrder, sale: Sale, receive: Receive, send: Send) -> None:
        if not await self._serve.stream(order, None, receive, send, sale.headers_of_delivery):
            raise _Left
        await self._gate.done(sale, None)

    async def _whole(self, order: ChatOrder, sale: Sale, receive: Receive, send: Send) -> None:
        reply = await self._serve.whole(order, False)
        reply = Reply(reply.status, [*reply.headers, *sale.headers_of_delivery], reply.content)
        await self._gate.done(sale, reply)
        leaving = asyncio.create_task(disconnected(receive))
        await asyncio.sleep(0)
        stayed = not leaving.done()
        leaving.cancel()
        try:
            await reply.send(send)
        finally:
            await self._gate.sent(sale, stayed)


class _Left(Exception):
    """The stream broke off, or its reader did: the sale is not done."""


def _read(raw: bytes) -> ChatRequest:
    """Raises InvalidInput, and KeyInvalid for what only a tenant has."""
    asked = ChatRequest(raw, keyed=False)
    if asked.options.session_id is not None or asked.options.tenant_id is not None:
        raise KeyInvalid("p402.session_id and p402.tenant_id need their tenant's API key")
    return asked
