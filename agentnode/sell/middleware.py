"""ASGI middleware that sells routes of an existing application, with the books and keys in a folder of its own.

app = FastAPI()
app.add_middleware(PaidRoutes, prices={"GET /report": "0.01", "POST /draw/*": "0.05"}, chain="http://...")
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from posixpath import normpath
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from agentnode.payments import read_rate, refused
from agentnode.sell.opening import opened
from agentnode.sell.paid import Paid, RoutePrice
from agentnode.settings import load
from ledger.errors import AgentNodeError, InvalidInput, Unavailable

_ROUTE = re.compile(r"(?:([A-Z]+) )?(/[\x21-\x7e]*)")


class PaidRoutes:
    """`prices`: USD by `METHOD /path`, or `/path` for every method; a path that ends in `/*` is all below it. The first
    that fits counts; what none fits is free. `settings` are the node's (`docs/settings.md`): `chain`, `data`, `origin`.
    """

    def __init__(self, app: ASGIApp, prices: Mapping[str, str], **settings: Any) -> None:
        """Raises InvalidInput naming the route or the setting."""
        self._app = app
        self._prices = [_priced(route, usd) for route, usd in prices.items()]
        self._settings = load(os.environ, None, **settings)
        self._paid: Paid | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket" and self._price_of(scope) is not None:
            # It carries no payment, so nothing that has a price goes over it.
            await send({"type": "websocket.close", "code": 1008, "reason": "this path has a price: ask over HTTP"})
        elif self._paid is not None:
            await self._paid(scope, receive, send)
        elif scope["type"] == "http" and self._price_of(scope) is not None:
            # Nothing that has a price is served where nobody could be paid.
            error = Unavailable("payments are not open: the server did not run the application's lifespan")
            await refused(error).send(send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open before the application starts, and closed after it has ended. What cannot be opened keeps it from
        starting: a server would go on without it."""
        try:
            async with opened(self._settings) as gate:
                self._paid = Paid(self._app, gate, self._price_of, self._settings.url)
                await self._app(scope, receive, send)
        except AgentNodeError as error:
            if self._paid is not None:
                raise
            await receive()
            await send({"type": "lifespan.startup.failed", "message": error.message})
        finally:
            self._paid = None

    def _price_of(self, scope: Scope) -> RoutePrice | None:
        asked, paths = scope.get("method", "GET").upper().replace("HEAD", "GET"), _paths(scope)
        for method, pattern, price in self._prices:
            if method in (None, asked) and any(_fits(pattern, path) for path in paths):
                return price
        return None


def _priced(route: str, usd: str) -> tuple[str | None, str, RoutePrice]:
    found = _ROUTE.fullmatch(route)
    if found is None:
        raise InvalidInput("prices", f"has {route[:80]!r}, which is not of the form METHOD /path")
    rate = read_rate(usd, f"prices[{route}]")
    if not rate.usd_nanos:
        raise InvalidInput(f"prices[{route}]", "must be above 0: what is free needs no price")
    return found[1], found[2], RoutePrice(route, rate)


def _paths(scope: Scope) -> set[str]:
    """The path in each form in which an application may read it: without the root path, tidied as a file's is, and
    with its slash at the end and without, and without a newline behind it, as regular expressions end. One that is
    served and not found here would be free."""
    path, root = scope["path"].removesuffix("\n"), scope.get("root_path", "").rstrip("/")
    forms = {path, path[len(root) :]} if root and path.startswith(f"{root}/") else {path}
    tidied = {normpath("/" + form.lstrip("/")) for form in forms}
    return forms | tidied | ({f"{form}/" for form in tidied} if path.endswith("/") else set())


def _fits(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("/*") else path == pattern
