"""A front before several workers of one agent: each request goes to the next of them, streams included.

`python -m tests.a2a.round_robin PORT WORKER...`: kept connections would bind a client to one worker.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Sequence

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date", "server"}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def front(workers: Sequence[str]) -> Starlette:
    """`workers` are their origins."""
    turn, http = itertools.cycle(workers), httpx.AsyncClient(timeout=60, trust_env=False)

    async def passed_on(request: Request) -> StreamingResponse:
        target = httpx.URL(next(turn)).copy_with(raw_path=_target(request))
        headers = [(name, value) for name, value in request.headers.raw if name.decode() not in _OF_ONE_CONNECTION]
        asked = httpx.Request(request.method, target, headers=headers, content=await request.body())
        answer = await http.send(asked, stream=True)
        made = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        made.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.decode().lower() not in _OF_ONE_CONNECTION
        ]
        return made

    return Starlette(routes=[Route("/{path:path}", passed_on, methods=_METHODS)])


def _target(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    path: bytes = request.scope["raw_path"]
    return path + (b"?" + query if query else b"")


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        print(f"ready http://127.0.0.1:{self.config.port}", flush=True)


if __name__ == "__main__":
    port, *workers = sys.argv[1:]
    asyncio.run(_Server(uvicorn.Config(front(workers), port=int(port), log_level="warning", lifespan="off")).serve())
