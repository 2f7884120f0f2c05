"""A JSON-RPC proxy before the chain, whose rule decides of each request what becomes of it, as real nodes do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

LOSE_REQUEST, LOSE_ANSWER = "lose the request", "lose the answer"
Fate = None | int | str | dict[str, Any] | list[Any]
"""None passes it on, a number is the HTTP status, a dict answers it, and the two words cut the connection."""


def refused(message: str, code: int = -32000) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class RpcProxy:
    """Use as a context manager; `.url`. `rule` may be changed meanwhile."""

    def __init__(self, chain_url: str, rule: Callable[[dict[str, Any]], Fate] = lambda request: None) -> None:
        self.rule = rule
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, httpx.get(f"{chain_url}{self.path}", timeout=30).content)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fate = proxy._fate(json.loads(body)) if self.path == "/" else None
                if isinstance(fate, int):
                    return self._answer(fate, b"{}")
                if isinstance(fate, dict | list):
                    return self._answer(200, json.dumps(fate).encode())
                if fate != LOSE_REQUEST:
                    path = "" if self.path == "/" else self.path
                    headers = {"content-type": "application/json"}
                    passed = httpx.post(f"{chain_url}{path}", content=body, headers=headers, timeout=30)
                if fate is None:
                    return self._answer(200, passed.content)
                self.close_connection = True
                return None

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._chain_url = chain_url
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _fate(self, asked: Any) -> Fate:
        """A dict is the whole answer. A batch is passed on in parts; who loses one request loses the batch."""
        if isinstance(asked, dict):
            fate = self.rule(asked)
            return {"jsonrpc": "2.0", "id": asked["id"], **fate} if isinstance(fate, dict) else fate
        fates = [self._fate(request) for request in asked]
        whole = next((fate for fate in fates if isinstance(fate, int | str)), None)
        if whole is not None or all(fate is None for fate in fates):
            return whole
        return [fate or self._passed(request) for fate, request in zip(fates, asked, strict=True)]

    def _passed(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.post(self._chain_url, json=request, timeout=30).json()
        return answer

    def __enter__(self) -> RpcProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
