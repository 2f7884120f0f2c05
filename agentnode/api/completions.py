"""`POST chat/completions`, at `/api/v2` and `/v1`: OpenAI's face of the engine, as a bare ASGI application.

It runs thousands of times a second, so nothing here validates what is only forwarded, and no framework is between.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
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
from engine import (
    Call,
    Chunk,
    Completion,
    CompletionRequest,
    Engine,
    Options,
    SessionBudgetExceeded,
    as_chunks,
    attribution_of,
    options_of,
)
from ledger.accounts import Account, AccountBook, Accounts, Caller, tightest
from ledger.errors import AgentNodeError, InvalidInput, KeyInvalid, ScopeMissing
from ledger.ids import ordered_id

MAX_BODY_BYTES = 50_000_000
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

    def __init__(self, engine: Engine, accounts: Accounts, book: AccountBook, sessions: Sessions) -> None:
        self._engine, self._accounts, self._book, self._sessions = engine, accounts, book, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ordered_id("req")
        try:
            await self._answer(scope, receive, send, request_id)
        except Exception as error:
            if not isinstance(error, AgentNodeError):
                _log.error("unexpected error in %s", request_id, exc_info=error)
                error = AgentNodeError("something unexpected happened; the operator's log has it")
            response = render(error)
            response.headers["X-P402-Request-ID"] = request_id
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        caller = await caller_of(self._accounts, authorization.decode("latin-1") if authorization else None)
        if caller.key_id is None:
            raise KeyInvalid("this needs an API key; make one with: agentnode keys create NAME")
        caller.require_any(*self.scopes)
        raw = await _body(receive)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise InvalidInput("body", "is not valid JSON") from None
        asked = await self._asked(caller, body, raw, headers, request_id)
        retries = headers.get(b"x-stainless-retry-count", b"0")
        first = None
        if asked.call.retry_key is not None and retries != b"0":
            first = await self._engine.joined(caller.tenant_id, asked.call.retry_key)
        try:
            if body.get("stream"):
                with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
                await self._stream(asked, first, with_usage, receive, send)
            else:
                await self._whole(asked, first, send)
        except SessionBudgetExceeded:
            if asked.options.session_id is not None:
                await self._sessions.note_refused(asked.options.session_id)
            raise

    async def _asked(
        self, caller: Caller, body: Any, raw: bytes, headers: dict[bytes, bytes], request_id: str
    ) -> _Asked:
        request = CompletionRequest.parse(body)
        options = options_of(body)
        if options.tenant_id is not None and options.tenant_id != caller.tenant_id:
            raise ScopeMissing("p402.tenant_id is not the tenant of this key")
        attribution = attribution_of(body)
        account = await self._book.open(caller, options.session_id, attribution)
        user = body.get("user")
        retry_key = None
        if b"x-stainless-retry-count" in headers:
            retry_key = hashlib.sha256(f"{caller.key_id}\n".encode() + raw).hexdigest()
        call = Call(
            request_id=request_id,
            attribution=attribution,
            user=user if isinstance(user, str) else None,
            privacy_mode=tightest(account.policy.privacy_mode, options.privacy_mode),
            retry_key=retry_key,
        )
        return _Asked(request, account, call, options)

    async def _whole(self, asked: _Asked, first: Completion | None, send: Send) -> None:
        completion = first or await self._engine.complete(*asked.parts)
        content = whole(completion, asked.account.tenant_id, asked.call.request_id)
        head = [*headers_of(completion, asked.call.request_id), _JSON, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": content})

    async def _stream(
        self, asked: _Asked, first: Completion | None, with_usage: bool, receive: Receive, send: Send
    ) -> None:
        """What fails before the first chunk is an HTTP error; later it is the stream's last frame. A caller who goes
        away stops the upstream at once."""
        this = asyncio.current_task()
        assert this is not None
        leaving = asyncio.create_task(_disconnected(receive))
        leaving.add_done_callback(lambda done: None if done.cancelled() else this.cancel())
        try:
            async with contextlib.aclosing(self._chunks(asked, first)) as chunks:
                await self._send_all(asked, chunks, with_usage, send)
        except asyncio.CancelledError:
            if not leaving.done() or leaving.cancelled():
                raise
        finally:
            leaving.cancel()

    async def _send_all(self, asked: _Asked, chunks: AsyncGenerator[Chunk, None], with_usage: bool, send: Send) -> None:
        tenant_id, request_id = asked.account.tenant_id, asked.call.request_id
        chunk = await anext(chunks)
        head = [
            (b"x-p402-request-id", request_id.encode()),
            (b"x-p402-provider", chunk.provider.encode()),
            *_STREAMED,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        try:
            while chunk.completion is None:
                await send(_part(chunk_bytes(chunk, with_usage)))
                chunk = await anext(chunks)
        except AgentNodeError as error:
            await send({"type": "http.response.body", "body": error_frame(error)})
            return
        content = chunk_bytes(chunk, with_usage, tenant_id, request_id)
        if with_usage:
            content += usage_chunk(chunk, tenant_id, request_id)
        await send({"type": "http.response.body", "body": content + _DONE})

    async def _chunks(self, asked: _Asked, first: Completion | None) -> AsyncGenerator[Chunk, None]:
        if first is not None:
            for chunk in as_chunks(first):
                yield chunk
            return
        async with contextlib.aclosing(self._engine.stream(*asked.parts)) as chunks:
            async for chunk in chunks:
                yield chunk


class _Asked:
    """A request that was read, and on whose account it is."""

    __slots__ = ("account", "call", "options", "request")

    def __init__(self, request: CompletionRequest, account: Account, call: Call, options: Options) -> None:
        self.request, self.account, self.call, self.options = request, account, call, options

    @property
    def parts(self) -> tuple[CompletionRequest, Account, Call, Options]:
        return self.request, self.account, self.call, self.options


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise InvalidInput("body", f"must have at most {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}
