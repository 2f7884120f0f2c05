"""Credits and a session's funds bought with x402: priced by the body, paid on the same request, made once."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import Request, Response

from agentnode.api.errors import response_of
from agentnode.payments import HttpGate, NamedClaim, Offer, Reply, Sale, request_hash
from ledger.accounts import PaidIn


class TopUp:
    """`gate` is None on a node that cannot be paid."""

    def __init__(self, gate: HttpGate | None, origin: str) -> None:
        self._gate, self._origin = gate, origin

    @property
    def is_open(self) -> bool:
        return self._gate is not None

    async def buy(
        self,
        request: Request,
        tenant_id: str,
        price_usd_nanos: int,
        description: str,
        make: Callable[[Sale, PaidIn], Awaitable[dict[str, Any]]],
        named: NamedClaim | None = None,
    ) -> Response:
        """The answer of `make`, which takes the money from the sale's purse; again for the same payment, for a day.

        `named` is the transfer that pays, where the body names one.

        Raises PaymentNeeded, and what `HttpGate.take` and `make` do.
        """
        assert self._gate is not None, "it is asked whether it is open"
        path = request.url.path
        sent = request_hash(request.method, path, request.scope["query_string"], await request.body())
        # Who pays buys it for this tenant, whoever sends the same payment under another key.
        bound = hashlib.sha256(f"{tenant_id}\n{sent}".encode()).hexdigest()
        offer = Offer(price_usd_nanos, self._origin + path, description, bound)
        sale = await self._gate.take(offer, request.headers.raw, named)
        if isinstance(sale, Reply):
            return response_of(sale)
        async with self._gate.at_work(sale):
            made = await make(sale, PaidIn(sale.purse_id, sale.begun.id))
            head = [(b"content-type", b"application/json"), *sale.headers_of_delivery]
            reply = Reply(200, head, orjson.dumps(made))
            await self._gate.done(sale, reply)
        await self._gate.sent(sale, received=False)
        return response_of(reply)
