"""A route with a price has it under every spelling of its path that the application would serve, for HEAD, and for
WebSockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message

from agentnode.sell import PaidRoutes

PRICES = {"GET /report": "0.01", "/files/paid.txt": "0.01", "/draw/*": "0.01", "/live": "0.01", "/index/": "0.01"}


@pytest.fixture(params=["", "/api"], ids=["at the root", "behind a proxy that strips /api"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path, prefix: str) -> FastAPI:
    """Without a lifespan what has a price is a 503, and needs no chain."""
    (tmp_path / "paid.txt").write_text("worth it")
    (tmp_path / "free.txt").write_text("for nothing")

    async def report(request: Request) -> PlainTextResponse:
        return PlainTextResponse("worth it")

    routes = [Route("/report", report), Route("/draw/{shape}", report), Route("/index/", report)]
    made = FastAPI(root_path=prefix, routes=routes)
    made.mount("/files", StaticFiles(directory=tmp_path))

    @made.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("worth it")

    made.add_middleware(PaidRoutes, prices=PRICES, chain="http://127.0.0.1:1", data=tmp_path / "books")
    return made


async def said(app: ASGIApp, path: str, method: str = "GET", kind: str = "http") -> list[Message]:
    """What the application sends for a path as it stands, which a client's library would have tidied up."""
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}]
    scope: dict[str, Any] = {
        **{"type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "headers": []},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "subprotocols": []},
        **({"method": method} if kind == "http" else {}),
    }

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


SPELLINGS = [
    *(("GET", "/report"), ("HEAD", "/report"), ("GET", "/report/"), ("GET", "/draw/circle"), ("HEAD", "/draw/circle")),
    *(
        ("GET", "/files/paid.txt"),
        ("HEAD", "/files/paid.txt"),
        ("GET", "/files//paid.txt"),
        ("GET", "/files/./paid.txt"),
    ),
    *(("GET", "/files/x/../paid.txt"), ("GET", "/files/paid.txt/"), ("GET", "//files/paid.txt")),
    *(("GET", "/report\n"), ("HEAD", "/report\n")),
    # WSGI applications write a method in capitals, and some tidy a path themselves.
    *(("get", "/report"), ("hEAD", "/report"), ("GET", "/index/"), ("GET", "//index/"), ("GET", "/./index/")),
]


@pytest.mark.parametrize(("method", "path"), SPELLINGS)
async def test_every_spelling_that_may_be_served_is_paid_for(app: FastAPI, prefix: str, method: str, path: str) -> None:
    for spelled in {path, prefix + path}:
        start = (await said(app, spelled, method))[0]
        assert start["status"] == 503, (spelled, start)


async def test_a_websocket_at_a_path_with_a_price_is_closed(app: FastAPI, prefix: str) -> None:
    """It carries no payment."""
    for path in {"/live", prefix + "/live"}:
        assert [message["type"] for message in await said(app, path, kind="websocket")] == ["websocket.close"]


async def test_what_has_no_price_is_still_free(app: FastAPI, prefix: str) -> None:
    assert (await said(app, prefix + "/files/free.txt"))[0]["status"] == 200
    assert (await said(app, prefix + "/files/none.txt"))[0]["status"] == 404
