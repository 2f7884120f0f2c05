"""What is read of a request, whoever sends it: a body up to a bound, of time too, since the framework reads it whole
before it looks for a key, and no path that a database could not look for."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentnode.api.chat import MAX_BODY_BYTES, PATHS
from agentnode.api.errors import BodyTooSlow, render
from ledger.errors import InvalidInput, NotFound

MAX_BYTES = 2_000_000


class BoundedBodies:
    """An ASGI layer that stops reading where a body is too large, or has not come to its end `within_s`."""

    def __init__(self, app: ASGIApp, within_s: float) -> None:
        self._app, self._within_s = app, within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"]:
            await render(NotFound("there is nothing at a path with NUL in it"))(scope, receive, send)
            return
        most = MAX_BODY_BYTES if scope["path"] in PATHS else MAX_BYTES
        size, ends_at, more = 0, asyncio.get_running_loop().time() + self._within_s, True

        async def bounded() -> Message:
            nonlocal size, more
            try:
                async with asyncio.timeout_at(ends_at if more else None):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(f"the whole of a body must come within {self._within_s:g} s") from None
            if more and message["type"] == "http.disconnect":  # else it is a bug of ours to the log
                raise InvalidInput("body", "broke off")
            more = message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > most:
                raise InvalidInput("body", f"must have at most {most} bytes")
            return message

        await self._app(scope, bounded, send)
