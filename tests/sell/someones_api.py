"""An HTTP API that knows nothing of payments, as a seller has it: answers, streams, fails, is slow, breaks off."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class SomeonesApi:
    """`seen`: the requests that arrived; a stream waits in its middle for `go_on`."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.stopped = threading.Event()
        self._gate: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    def app(self) -> Starlette:
        answers = {"echo": self.echo, "stream": self.stream, "cut": self.cut, "zipped": self.zipped}
        routes = [Route(f"/base/{name}", answer, methods=METHODS) for name, answer in answers.items()]
        routes.append(Route("/base/status/{status:int}", self.status, methods=METHODS))
        routes.append(Route("/base/elsewhere", lambda _: RedirectResponse("http://other.example/x")))
        routes.append(Route("/{path:path}", self.echo, methods=METHODS))
        return Starlette(routes=routes)

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        self._note(request, body)
        answer = Response(body or b"nothing", 200, media_type="application/x-odd")
        answer.raw_headers += [(b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        answer.raw_headers += [(b"x-of-the-line", b"1"), (b"connection", b"x-of-the-line")]
        answer.raw_headers.append((b"cache-control", b"public, max-age=60"))
        return answer

    async def stream(self, request: Request) -> Response:
        self._note(request, b"")
        self._gate, self._loop = asyncio.Event(), asyncio.get_running_loop()
        gate = self._gate

        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"data: one\n\n"
                await gate.wait()
                yield b"data: two\n\n"
            except BaseException:
                self.stopped.set()
                raise

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def cut(self, request: Request) -> Response:
        self._note(request, b"")

        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the line broke")

        return StreamingResponse(parts(), headers={"content-length": "8"})

    async def zipped(self, request: Request) -> Response:
        self._note(request, b"")
        return Response(gzip.compress(b"small"), headers={"content-encoding": "gzip"})

    async def status(self, request: Request) -> Response:
        self._note(request, b"")
        return JSONResponse({"said": "no"}, request.path_params["status"], headers={"x-own": "1"})

    def go_on(self) -> None:
        assert self._loop is not None and self._gate is not None
        self._loop.call_soon_threadsafe(self._gate.set)

    def _note(self, request: Request, body: bytes) -> None:
        path = request.scope["raw_path"].decode()
        query = request.scope["query_string"].decode()
        headers = [(name.decode(), value.decode()) for name, value in request.scope["headers"]]
        self.seen.append({"method": request.method, "path": path, "query": query, "headers": headers, "body": body})


@contextmanager
def someones_api() -> Iterator[SomeonesApi]:
    api = SomeonesApi()
    server = uvicorn.Server(uvicorn.Config(api.app(), port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    api.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield api
    server.should_exit = True
    thread.join(10)
