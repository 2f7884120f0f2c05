"""A JSON-RPC proxy before the chain that holds back the calls of one method, as a slow node does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class HoldingRpc:
    """Holds `method` back once it is set, until `let_go`; `reached` is set when the first call has come."""

    def __init__(self, chain_url: str) -> None:
        self.method = ""
        self.let_go = threading.Event()
        self.reached = asyncio.Event()
        self.url = ""
        self._chain_url = chain_url

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[HoldingRpc]:
        proxy, loop = self, asyncio.get_running_loop()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(httpx.get(f"{proxy._chain_url}{self.path}", timeout=30).content)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = json.loads(body) if self.path == "/" else []
                if proxy.method in [one["method"] for one in (asked if isinstance(asked, list) else [asked])]:
                    loop.call_soon_threadsafe(proxy.reached.set)
                    proxy.let_go.wait(60)
                path = "" if self.path == "/" else self.path
                headers = {"content-type": "application/json"}
                answer = httpx.post(f"{proxy._chain_url}{path}", content=body, headers=headers, timeout=30)
                self._answer(answer.content)

            def _answer(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.let_go.set()
            await asyncio.to_thread(server.shutdown)
            server.server_close()
