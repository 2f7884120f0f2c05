"""Answers kept for a while, so that a client that sends a request again gets the first one's answer, and one charge.

OpenAI's SDKs send no idempotency key and retry by themselves, with `X-Stainless-Retry-Count` above zero.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import orjson

from engine.completion import Completion
from engine.order import Order
from engine.usage import Usage
from ledger.clock import SECOND_US, Clock
from ledger.errors import NotFound, RequestInProgress
from ledger.events import Events
from ledger.spend import Hold, Spend
from ledger.vault import Vault, VaultItem

JOIN_S = 120.0
"""How long a retry waits for the first one's answer."""
_LOOK_AGAIN_S = 0.05
_AGAIN_MS = 1_000


class ClientRetries:
    def __init__(self, spend: Spend, events: Events, vault: Vault, clock: Clock) -> None:
        self._spend, self._events, self._vault, self._clock = spend, events, vault, clock
        self._at_work: dict[tuple[str, str], asyncio.Event] = {}

    @contextlib.contextmanager
    def at_work(self, order: Order) -> Iterator[None]:
        """While a request is at work in this process its retries wait for its end: between two attempts, and before
        the first, it holds nothing by which they could know."""
        if order.call.retry_key is None:
            yield
            return
        key, ended = (order.account.tenant_id, order.call.retry_key), asyncio.Event()
        self._at_work[key] = ended
        try:
            yield
        finally:
            ended.set()
            if self._at_work.get(key) is ended:
                del self._at_work[key]

    async def kept(self, order: Order, event_id: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The row that is written with the capture, where the client may ask for the answer again."""
        if order.call.retry_key is None:
            return None
        content = orjson.dumps({"body": body, "mode": order.options.mode})
        ends_at_us = self._clock.now_us() + order.call.keep_s * SECOND_US
        return await self._vault.seal(order.account.tenant_id, VaultItem(_ref(event_id), 0, content, ends_at_us))

    async def joined(self, tenant_id: str, retry_key: str, kept_s: int) -> Completion | None:
        since_us = self._clock.now_us() - kept_s * SECOND_US
        give_up_us = self._clock.now_us() + int(JOIN_S * SECOND_US)
        while True:
            await self._ended(tenant_id, retry_key, give_up_us)
            twin = await self._spend.twin(tenant_id, retry_key, since_us)
            if twin is None or twin.state != "held":
                return None if twin is None else await self._answer_of(twin)
            if self._clock.now_us() > give_up_us:
                raise _still_at_work()
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _ended(self, tenant_id: str, retry_key: str, give_up_us: int) -> None:
        """Waits for the request's end where it is at work in this process. Raises RequestInProgress."""
        ended = self._at_work.get((tenant_id, retry_key))
        if ended is not None:
            try:
                async with asyncio.timeout(max(0, give_up_us - self._clock.now_us()) / SECOND_US):
                    await ended.wait()
            except TimeoutError:
                raise _still_at_work() from None

    async def _answer_of(self, twin: Hold) -> Completion | None:
        if twin.state != "captured" or twin.event_id is None:
            return None
        content = await self._vault.read(twin.tenant_id, _ref(twin.event_id), 0)
        if content is None:
            return None
        try:
            event = await self._events.get(twin.event_id, twin.tenant_id)
        except NotFound:
            return None
        kept = orjson.loads(content)
        return Completion(
            id=event.id,
            provider=str(event.provider),
            model=str(event.model),
            body=kept["body"],
            usage=Usage(
                event.input_tokens,
                event.cached_input_tokens,
                event.cache_write_tokens,
                event.output_tokens,
                event.reasoning_tokens,
            ),
            cost_usd_nanos=event.cost_usd_nanos,
            latency_ms=event.latency_ms or 0,
            provider_latency_ms=event.latency_ms or 0,
            mode=kept["mode"],
            estimated=event.estimated,
            overrun_usd_nanos=event.overrun_usd_nanos,
            request_id=event.request_id,
        )


def _still_at_work() -> RequestInProgress:
    return RequestInProgress("the same request is still at work", retry_after_ms=_AGAIN_MS)


def _ref(event_id: str) -> str:
    return f"reply:{event_id}"
