"""`POST chat/completions`, at `/api/v2` and `/v1`: OpenAI's face of the engine, as a bare ASGI application.

It runs thousands of times a second, so nothing here validates what is only forwarded, and no framework is between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import orjson
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from agentnode.api.answers import chunk_bytes, error_frame, headers_of, usage_chunk, whole
from agentnode.api.auth import caller_of
from agentnode.api.errors import render
from agentnode.api.incoming import Part, Room, delivery_of, in_one_order, read_body, retry_of
from agentnode.api.keyed import Keyed, Reply
from agentnode.hire import ChatBuyer, NothingToBuy
from engine import (
    Call,
    Chunk,
    Completion,
    CompletionRequest,
    Engine,
    Options,
    SessionBudgetExceeded,
    UpstreamBusy,
    as_chunks,
    attribution_of,
    options_of,
)
from ledger.accounts import Account, AccountBook, Accounts, Caller, tightest
from ledger.errors import AgentNodeError, InvalidInput, KeyInvalid, ScopeMissing
from ledger.ids import ordered_id

PATHS = ("/v1/chat/completions", "/api/v2/chat/completions")
_log = logging.getLogger(__name__)
_DONE = b"data: [DONE]\n\n"
_STREAMED = (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")
_JSON = (b"content-type", b"application/json")


def routes(serves: Completions) -> list[Route]:
    return [Route(path, serves, methods=["POST"], include_in_schema=False) for path in PATHS]


class Shortcut:
    """Hands completions to who serves them, and everything else to the framework, whose layers and search for a route
    cost a seventh of what a completion does."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._serves = next(route.endpoint for route in app.routes if isinstance(route, Route) and route.path in PATHS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_completion = scope["type"] == "http" and scope["path"] in PATHS and scope["method"] == "POST"
        await (self._serves if is_completion else self._app)(scope, receive, send)


class Sessions(Protocol):
    """What is told of a session that had no room for a call."""

    async def note_refused(self, session_id: str) -> None: ...


class Completions:
    scopes = ("chat",)
    """What the key must be allowed to."""

    def __init__(
        self,
        engine: Engine,
        accounts: Accounts,
        book: AccountBook,
        sessions: Sessions,
        keyed: Keyed,
        elsewhere: ChatBuyer,
        *,
        client_stall_s: float,
    ) -> None:
        self._engine, self._accounts, self._book, self._sessions = engine, accounts, book, sessions
        self._keyed, self._elsewhere = keyed, elsewhere
        self._client_stall_s = client_stall_s
        self._room = Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ordered_id("req")
        try:
            with self._room.part() as part:
                await self._answer(scope, receive, send, request_id, part)
        except Exception as error:
            if not isinstance(error, AgentNodeError):
                _log.error("unexpected error in %s", request_id, exc_info=error)
                error = AgentNodeError("something unexpected happened; the operator's log has it")
            response = render(error)
            response.headers["X-P402-Request-ID"] = request_id
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str, part: Part) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        caller = await caller_of(self._accounts, authorization.decode("latin-1") if authorization else None)
        if caller.key_id is None:
            raise KeyInvalid("this needs an API key; make one with: agentnode keys create NAME")
        caller.require_any(*self.scopes)
        raw = await read_body(receive, headers, part)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise InvalidInput("body", "is not valid JSON") from None
        key = headers.get(b"idempotency-key")
        if key is not None:
            raw = in_one_order(body)
        asked = await self._asked(caller, body, raw, headers, request_id)
        retried = key is not None or headers.get(b"x-stainless-retry-count", b"0") != b"0"
        try:
            if asked.is_streamed:
                await self._stream(asked, await self._first(asked, retried), receive, send)
            elif key is None:
                await _send_whole(await self._whole(asked, retried), send)
            else:
                await _send_whole(await self._keyed.reply(caller, key, raw, lambda: self._whole(asked, retried)), send)
        except SessionBudgetExceeded:
            if asked.options.session_id is not None:
                await self._sessions.note_refused(asked.options.session_id)
            raise

    async def _asked(
        self, caller: Caller, body: Any, raw: bytes, headers: dict[bytes, bytes], request_id: str
    ) -> _Asked:
        request = CompletionRequest.parse(body)
        is_streamed, with_usage = delivery_of(body, b"idempotency-key" in headers)
        options = options_of(body)
        if options.on_rate_limit == "pay":
            caller.require_any("spend")
        if options.tenant_id is not None and options.tenant_id != caller.tenant_id:
            raise ScopeMissing("p402.tenant_id is not the tenant of this key")
        attribution = attribution_of(body)
        account = await self._book.open(caller, options.session_id, attribution)
        user = body.get("user")
        retry_key, keep_s = retry_of(caller, raw, headers)
        call = Call(
            request_id=request_id,
            attribution=attribution,
            user=user if isinstance(user, str) else None,
            privacy_mode=tightest(account.policy.privacy_mode, options.privacy_mode),
            retry_key=retry_key,
            keep_s=keep_s,
        )
        return _Asked(request, account, call, options, is_streamed, with_usage)

    async def _first(self, asked: _Asked, retried: bool) -> Completion | None:
        """The answer of the request that this one is sent again of."""
        return await self._engine.joined(asked.account, asked.call) if retried else None

    async def _whole(self, asked: _Asked, retried: bool) -> Reply:
        completion = await self._first(asked, retried) or await self._completed(asked)
        content = whole(completion, asked.account.tenant_id, asked.call.request_id)
        head = [*headers_of(completion, asked.call.request_id), _JSON, (b"content-length", b"%d" % len(content))]
        return Reply(200, head, content)

    async def _completed(self, asked: _Asked) -> Completion:
        try:
            return await self._engine.complete(*asked.parts)
        except UpstreamBusy as busy:
            if asked.options.on_rate_limit != "pay":
                raise
            return await self._bought(asked, busy)

    async def _streamed_or_bought(self, asked: _Asked) -> AsyncGenerator[list[Chunk], None]:
        """A stream that is refused at a limit has not begun."""
        try:
            async with contextlib.aclosing(self._engine.stream(*asked.parts)) as arrivals:
                async for chunks in arrivals:
                    yield chunks
        except UpstreamBusy as busy:
            yield as_chunks(await self._bought(asked, busy))

    async def _bought(self, asked: _Asked, busy: UpstreamBusy) -> Completion:
        """Raises what the upstream said where nothing could be bought instead."""
        try:
            return await self._elsewhere.buy(*asked.parts)
        except NothingToBuy as reason:
            refused = UpstreamBusy(
                f"who could serve this is at its rate limit, and nothing was bought instead: {reason}",
                retry_after_ms=busy.retry_after_ms,
            )
            refused.charge(busy.charged_usd_nanos)
            raise refused from reason

    async def _stream(self, asked: _Asked, first: Completion | None, receive: Receive, send: Send) -> None:
        """What fails before the first chunk is an HTTP error; later it is the stream's last frame. A caller who goes
        away stops the upstream at once."""
        this = asyncio.current_task()
        assert this is not None
        leaving = asyncio.create_task(_disconnected(receive))
        leaving.add_done_callback(lambda done: None if done.cancelled() else this.cancel())
        try:
            if first:
                sent = _replayed(first)
            elif asked.options.on_rate_limit == "pay":
                sent = self._streamed_or_bought(asked)
            else:
                sent = self._engine.stream(*asked.parts)
            async with contextlib.aclosing(sent) as arrivals:
                patient = self._patient(send)
                await _send_all(asked, arrivals, (first and first.request_id) or asked.call.request_id, patient)
        except asyncio.CancelledError:
            if not leaving.done() or leaving.cancelled():
                raise
        except _Stalled:
            _log.info("%s: its client reads nothing; the stream was ended", asked.call.request_id)
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


class _Asked:
    """A request that was read, and on whose account it is."""

    __slots__ = ("account", "call", "is_streamed", "options", "request", "with_usage")

    def __init__(
        self,
        request: CompletionRequest,
        account: Account,
        call: Call,
        options: Options,
        is_streamed: bool,
        with_usage: bool,
    ) -> None:
        self.request, self.account, self.call, self.options = request, account, call, options
        self.is_streamed, self.with_usage = is_streamed, with_usage

    @property
    def parts(self) -> tuple[CompletionRequest, Account, Call, Options]:
        return self.request, self.account, self.call, self.options


async def _send_all(asked: _Asked, arrivals: AsyncGenerator[list[Chunk], None], request_id: str, send: Send) -> None:
    tenant_id, with_usage = asked.account.tenant_id, asked.with_usage
    chunks = await anext(arrivals)
    head = [
        (b"x-p402-request-id", request_id.encode()),
        (b"x-p402-provider", chunks[0].provider.encode()),
        *_STREAMED,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    try:
        while chunks[-1].completion is None:
            await send(_part(b"".join(chunk_bytes(chunk, with_usage) for chunk in chunks)))
            chunks = await anext(arrivals)
    except AgentNodeError as error:
        await send({"type": "http.response.body", "body": error_frame(error)})
        return
    frames = [chunk_bytes(chunk, with_usage, tenant_id, request_id) for chunk in chunks]
    if with_usage:
        frames.append(usage_chunk(chunks[-1], tenant_id, request_id))
    await send({"type": "http.response.body", "body": b"".join(frames) + _DONE})


async def _replayed(completion: Completion) -> AsyncGenerator[list[Chunk], None]:
    yield as_chunks(completion)


async def _send_whole(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.content})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}
