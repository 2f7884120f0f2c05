"""What is read of a request, whoever sends it: a body up to a bound, since the framework reads it whole before it looks
for a key, and no path that a database could not look for."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentnode.api.chat import MAX_BODY_BYTES, PATHS
from agentnode.api.errors import render
from ledger.errors import InvalidInput, NotFound

MAX_BYTES = 2_000_000


class BoundedBodies:
    """An ASGI layer that stops reading where a body is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"]:
            await render(NotFound("there is nothing at a path with NUL in it"))(scope, receive, send)
            return
        most = MAX_BODY_BYTES if scope["path"] in PATHS else MAX_BYTES
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise InvalidInput("body", f"must have at most {most} bytes")
            return message

        await self._app(scope, bounded, send)
