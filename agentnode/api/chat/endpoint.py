"""`POST chat/completions`, at `/api/v2` and `/v1`: OpenAI's face of the engine, as a bare ASGI application.

It runs thousands of times a second, so nothing here validates what is only forwarded, and no framework is between.
"""

from __future__ import annotations

from typing import Protocol

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentnode.api.auth import caller_of
from agentnode.api.chat.body import Part, Room, read_body
from agentnode.api.chat.idempotency import FirstReplies
from agentnode.api.chat.pay_per_call import PayPerCall
from agentnode.api.chat.request import ChatOrder, ChatRequest
from agentnode.api.chat.retries import is_retry, retry_of
from agentnode.api.chat.serving import Serving
from agentnode.api.errors import shown_error
from agentnode.payments import refused
from engine import SessionBudgetExceeded
from ledger.accounts import AccountBook, Accounts, Caller
from ledger.errors import KeyInvalid, ScopeMissing
from ledger.ids import ordered_id

PATHS = ("/v1/chat/completions", "/api/v2/chat/completions")


def routes(serves: ChatCompletions) -> list[Route]:
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


class ChatCompletions:
    scopes = ("chat",)
    """What the key must be allowed to."""

    def __init__(
        self,
        serve: Serving,
        accounts: Accounts,
        book: AccountBook,
        sessions: Sessions,
        first_replies: FirstReplies,
        pay_per_call: PayPerCall | None,
        *,
        client_stall_s: float,
    ) -> None:
        """`pay_per_call` serves who has no key, where the node can be paid."""
        self._serve, self._accounts, self._book, self._sessions = serve, accounts, book, sessions
        self._first_replies, self._pay_per_call = first_replies, pay_per_call
        self._room, self._client_stall_s = Room(), client_stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ordered_id("req")
        try:
            with self._room.part() as part:
                await self._answer(scope, receive, send, request_id, part)
        except Exception as error:
            reply = refused(shown_error(error, f"in {request_id}"), [(b"x-p402-request-id", request_id.encode())])
            await reply.send(send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str, part: Part) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        caller = await caller_of(self._accounts, authorization.decode("latin-1") if authorization else None)
        pays_here = caller.key_id is None and self._pay_per_call
        if not pays_here:
            if caller.key_id is None:
                raise KeyInvalid("this needs an API key; make one with: agentnode keys create NAME")
            caller.require_any(*self.scopes)
        raw = await read_body(receive, headers, part, caller.tenant_id, self._client_stall_s)
        if pays_here:
            return await pays_here.answer(scope, raw, receive, send, request_id)
        key = headers.get(b"idempotency-key")
        asked = ChatRequest(raw, keyed=key is not None)
        order = await self._order(caller, asked, headers, request_id)
        retried = key is not None or is_retry(headers)
        serve = self._serve
        try:
            if order.is_streamed:
                await serve.stream(order, await serve.first(order, retried), receive, send)
            elif key is None:
                await (await serve.whole(order, retried)).send(send)
            else:
                reply = await self._first_replies.reply(caller, key, asked.same, lambda: serve.whole(order, retried))
                await reply.send(send)
        except SessionBudgetExceeded:
            if order.options.session_id is not None:
                await self._sessions.note_refused(order.options.session_id)
            raise

    async def _order(
        self, caller: Caller, asked: ChatRequest, headers: dict[bytes, bytes], request_id: str
    ) -> ChatOrder:
        options = asked.options
        if options.on_rate_limit == "pay":
            caller.require_any("spend")
        if options.tenant_id is not None and options.tenant_id != caller.tenant_id:
            raise ScopeMissing("p402.tenant_id is not the tenant of this key")
        account = await self._book.open(caller, options.session_id, asked.attribution)
        retry_key, keep_s = retry_of(caller, asked.same, headers)
        return asked.on(account, options, request_id, retry_key=retry_key, keep_s=keep_s)
