"""How a completion is made and sent, whole or in chunks, whoever pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence

from starlette.types import Message, Receive, Send

from agentnode.api.chat.openai_answer import Header, chunk_bytes, error_frame, headers_of, usage_chunk, whole
from agentnode.api.chat.request import ChatOrder
from agentnode.hire import ChatBuyer, NothingToBuy
from agentnode.payments import Reply, disconnected
from engine import Chunk, Completion, Engine, UpstreamBusy, as_chunks
from ledger.errors import AgentNodeError

_log = logging.getLogger(__name__)
_DONE = b"data: [DONE]\n\n"
_STREAMED = (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")
_JSON = (b"content-type", b"application/json")


class Serving:
    """`elsewhere` buys what the upstreams are too busy for, where the caller says so."""

    def __init__(self, engine: Engine, elsewhere: ChatBuyer, client_stall_s: float) -> None:
        self._engine, self._elsewhere, self._client_stall_s = engine, elsewhere, client_stall_s

    async def first(self, order: ChatOrder, retried: bool) -> Completion | None:
        """The answer of the request that this one is sent again of."""
        return await self._engine.joined(order.account, order.call) if retried else None

    async def whole(self, order: ChatOrder, retried: bool) -> Reply:
        completion = await self.first(order, retried) or await self._completed(order)
        content = whole(completion, order.account.tenant_id, order.call.request_id)
        head = [*headers_of(completion, order.call.request_id), _JSON, (b"content-length", b"%d" % len(content))]
        return Reply(200, head, content)

    async def _completed(self, order: ChatOrder) -> Completion:
        try:
            return await self._engine.complete(*order.parts)
        except UpstreamBusy as busy:
            if order.options.on_rate_limit != "pay":
                raise
            return await self._bought(order, busy)

    async def _streamed_or_bought(self, order: ChatOrder) -> AsyncGenerator[list[Chunk], None]:
        """A stream that is refused at a limit has not begun."""
        try:
            async with contextlib.aclosing(self._engine.stream(*order.parts)) as arrivals:
                async for chunks in arrivals:
                    yield chunks
        except UpstreamBusy as busy:
            yield as_chunks(await self._bought(order, busy))

    async def _bought(self, order: ChatOrder, busy: UpstreamBusy) -> Completion:
        """Raises what the upstream said where nothing could be bought instead."""
        try:
            return await self._elsewhere.buy(*order.parts)
        except NothingToBuy as reason:
            refused = UpstreamBusy(
                f"who could serve this is at its rate limit, and nothing was bought instead: {reason}",
                retry_after_ms=busy.retry_after_ms,
            )
            refused.charge(busy.charged_usd_nanos)
            raise refused from reason

    async def stream(
        self, order: ChatOrder, first: Completion | None, receive: Receive, send: Send, head: Sequence[Header] = ()
    ) -> bool:
        """Whether the whole of it was sent. What fails before the first chunk is an HTTP error; later it is the
        stream's last frame. A caller who goes away stops the upstream at once. `head`: more headers."""
        this = asyncio.current_task()
        assert this is not None
        leaving = asyncio.create_task(disconnected(receive))
        leaving.add_done_callback(lambda done: None if done.cancelled() else this.cancel())
        try:
            if first:
                sent = _replayed(first)
            elif order.options.on_rate_limit == "pay":
                sent = self._streamed_or_bought(order)
            else:
                sent = self._engine.stream(*order.parts)
            async with contextlib.aclosing(sent) as arrivals:
                patient = self._patient(send)
                request_id = (first and first.request_id) or order.call.request_id
                return await _send_all(order, arrivals, request_id, patient, head)
        except asyncio.CancelledError:
            if not leaving.done() or leaving.cancelled():
                raise
            return False
        except _Stalled:
            _log.info("%s: its client reads nothing; the stream was ended", order.call.request_id)
            return False
        finally:
            leaving.cancel()

    def _patient(self, send: Send) -> Send:
        """A client that reads nothing more would keep its hold and its slot for as long as it likes."""

        async def within(message: Message) -> None:
            try:
                async with asyncio.timeout(self._client_stall_s):
                    await send(message)
            except TimeoutError:
                raise _Stalled from None

        return within


class _Stalled(Exception):
    """The client takes nothing."""


async def _send_all(
    order: ChatOrder, arrivals: AsyncGenerator[list[Chunk], None], request_id: str, send: Send, more: Sequence[Header]
) -> bool:
    tenant_id, with_usage = order.account.tenant_id, order.with_usage
    chunks = await anext(arrivals)
    head = [
        (b"x-p402-request-id", request_id.encode()),
        (b"x-p402-provider", chunks[0].provider.encode()),
        *_STREAMED,
        *more,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    try:
        while chunks[-1].completion is None:
            await send(_part(b"".join(chunk_bytes(chunk, with_usage) for chunk in chunks)))
            chunks = await anext(arrivals)
    except AgentNodeError as error:
        await send({"type": "http.response.body", "body": error_frame(error)})
        return False
    frames = [chunk_bytes(chunk, with_usage, tenant_id, request_id) for chunk in chunks]
    if with_usage:
        frames.append(usage_chunk(chunks[-1], tenant_id, request_id))
    await send({"type": "http.response.body", "body": b"".join(frames) + _DONE})
    return True


async def _replayed(completion: Completion) -> AsyncGenerator[list[Chunk], None]:
    yield as_chunks(completion)


def _part(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}
