"""The bare pass-through: one ASGI function on uvicorn and aiohttp's client, nothing read, nothing kept.

What the node would do at best: `python -m benchmarks.gateway.passthrough UPSTREAM_URL` prints `ready http://…`.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import aiohttp
import uvicorn


class PassThrough:
    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer upstream-key"}
        async with self._opened().post(self._upstream_url + scope["path"], data=body, headers=headers) as reply:
            kind = reply.headers["Content-Type"].encode()
            start = {"type": "http.response.start", "status": reply.status}
            if reply.content_length is not None:
                whole = await reply.read()
                length = str(len(whole)).encode()
                await send({**start, "headers": [(b"content-type", kind), (b"content-length", length)]})
                await send({"type": "http.response.body", "body": whole})
                return
            await send({**start, "headers": [(b"content-type", kind)]})
            async for part in reply.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        return self._session


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    sys.stdout.write(f"ready http://127.0.0.1:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(PassThrough(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
