"""A connection is kept for who asks something and reads the answer: not for silence, nor for a head without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from agentnode.connection import Connection

ASKED = b"GET %s HTTP/1.1\r\nHost: node\r\n\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where a hasty node answers with the names of a request's headers; at `/waits` only after it has looked at its
    connection, at `/much` with more than a socket takes, at `/left` once somebody has gone from there."""
    looked, left = asyncio.Event(), asyncio.Event()

    class Hasty(Connection):
        head_s = stall_s = 0.05
        most_head_bytes = 2_000

        def _give_up(self) -> None:
            super()._give_up()
            looked.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            await looked.wait()
        while (await receive()).get("more_body"):
            pass
        body = b"ok " + b" ".join(name for name, _ in scope["headers"])
        if scope["path"] == "/much":
            body += bytes(50_000_000)
        if scope["path"] == "/left":
            await left.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        if scope["path"] == "/much":
            left.set()

    config, state = uvicorn.Config(app, lifespan="off", log_level="critical"), ServerState()

    def connection() -> asyncio.Protocol:
        return Hasty(config=config, server_state=state, app_state={})

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said(port: int, sent: bytes) -> bytes:
    """All that comes until the node closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    told = await reader.read()
    writer.close()
    return told


async def test_who_reads_nothing_is_left(port: int) -> None:
    """What waits for it ends then."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
    writer.write(ASKED % b"/much")
    assert b"ok" in await said(port, ASKED % b"/left")
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: n"])
async def test_who_asks_nothing_is_not_waited_for(port: int, sent: bytes) -> None:
    assert await said(port, sent) == b""


async def test_what_is_at_work_is_not_cut_off(port: int) -> None:
    """Though the head of nothing new comes while it is."""
    told = await said(port, ASKED % b"/" + ASKED % b"/waits")
    assert told.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 3_000, b"GET /" + b"x" * 3_000])
async def test_what_is_no_request_is_refused_as_everything_is(port: int, sent: bytes) -> None:
    """No HTTP, or a head that does not end."""
    head, _, body = (await said(port, sent)).partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.1 400") and (error["code"], error["param"]) == ("INVALID_INPUT", "request")


async def test_a_large_body_is_no_head(port: int) -> None:
    """Nor are many requests sent together."""
    large = b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9_000
    assert (await said(port, large + ASKED % b"/" * 100)).count(b"HTTP/1.1 200 OK") == 101


async def test_what_comes_behind_a_body_is_no_header(port: int) -> None:
    """Whoever looks at headers before the node does not look there."""
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    assert b"authorization" not in await said(port, chunked)
