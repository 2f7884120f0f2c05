"""A seller of one thing over HTTP in the test's own process: its price, its work and its time are the test's to say."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentnode.payments import Header, HttpGate, Rate
from agentnode.payments.taking.deliveries import Deliveries
from agentnode.payments.taking.sales import Sales
from agentnode.sell.paid import Paid, RoutePrice
from ledger.accounts import receipt_budget
from ledger.clock import SystemClock
from ledger.spend import Budget, Spend
from ledger.vault import Vault
from tests.payments.paid_http import encoded
from tests.payments.payments_world import World
from trust.keys import NodeKeys

LEASE_S = 0.3
Answer = Callable[[int, bytes], Awaitable[None]]


class Later(SystemClock):
    """The system's time, and what a test has let pass beside it."""

    passed_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.passed_us

    def pass_s(self, seconds: float) -> None:
        self.passed_us += int(seconds * 1_000_000)


class Stall:
    """`gate` makes the gate of one process; several of them share the books."""

    def __init__(self, world: World, keys: NodeKeys, spend: Spend, clock: Later, lease_s: float = 60) -> None:
        self.world, self.spend, self.clock = world, spend, clock
        self.price_usd_nanos = 10_000_000
        self._keys, self._lease_s = keys, lease_s

    def gate(self, kind: type[HttpGate] = HttpGate) -> HttpGate:
        paid, database, clock, keys = self.world.payments, self.world.database, self.clock, self._keys
        deliveries = Deliveries(database, clock, Vault(database, clock, keys), self._lease_s)
        node = paid.http_gate._sales
        parts = (paid.intents, paid.journal, node._spends, node._quotes, node._transfers, deliveries, paid.chain)
        sales = Sales(*parts, keys, clock, None)
        return kind(sales, node._quotes, paid.sign_ins, deliveries, self.spend, clock, None)

    async def ask(self, work: ASGIApp, *headers: Header, gate: HttpGate | None = None) -> Reply:
        sells = Paid(work, gate or self.gate(), lambda _: RoutePrice("It", Rate(self.price_usd_nanos)), "http://stall")
        sent: list[Message] = []
        scope: dict[str, Any] = {
            **{"type": "http", "method": "GET", "path": "/it", "raw_path": b"/it", "query_string": b""},
            "headers": list(headers),
        }
        asked: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if not asked:
                await asyncio.Event().wait()
            return asked.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        await sells(scope, receive, send)
        return Reply(sent)

    async def accepts(self) -> dict[str, Any]:
        asked = (await self.ask(said(200, b""))).said("payment-required")
        first: dict[str, Any] = asked["accepts"][0]
        return first

    async def purse(self, receipt_id: str) -> Budget:
        purse = await self.spend.budget(receipt_budget(receipt_id).id)
        assert purse is not None
        return purse


class Reply:
    def __init__(self, sent: Sequence[Message]) -> None:
        self.status = int(sent[0]["status"])
        self.content = b"".join(message.get("body", b"") for message in sent[1:])
        self._headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}

    def said(self, header: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(base64.b64decode(self._headers[header]))
        return read

    @property
    def receipt_id(self) -> str:
        return str(self.said("payment-response")["receiptId"])


def said(status: int, content: bytes) -> ASGIApp:
    """Work that is done at once."""

    async def work(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    return work


def paying(payload: dict[str, Any]) -> Header:
    return b"payment-signature", encoded(payload).encode()
