"""A JSON-RPC proxy before the chain that refuses, or swallows, some of the broadcasts, as real nodes do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx

Fault = Literal["pass", "refuse", "lose_request", "lose_answer"]


class FailingRpc:
    """`fault(n)` says what happens to the n-th broadcast, counted from 1. Use as a context manager; `.url`."""

    def __init__(self, chain_url: str, fault: Callable[[int], Fault]) -> None:
        self.broadcasts = 0
        lock, proxy = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(httpx.get(f"{chain_url}{self.path}", timeout=30).content)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind: Fault = "pass"
                if b"eth_sendRawTransaction" in body:
                    with lock:
                        proxy.broadcasts += 1
                        kind = fault(proxy.broadcasts)
                if kind == "refuse":
                    error = {"code": -32000, "message": "the node is out of sorts"}
                    self._answer(json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "error": error}).encode())
                    return
                headers = {"content-type": "application/json"}
                path = "" if self.path == "/" else self.path
                if kind != "lose_request":
                    answer = httpx.post(f"{chain_url}{path}", content=body, headers=headers, timeout=30)
                if kind == "pass":
                    self._answer(answer.content)
                else:
                    self.close_connection = True

            def _answer(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FailingRpc:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
