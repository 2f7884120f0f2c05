"""HTTP servers in threads of the test, each of which says what a function says: for what a node talks to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any] | None
"""A status, and bytes or what becomes JSON; None hangs up."""


@contextlib.contextmanager
def answering(say: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """Its URL. `say` is asked with a path and a body, which a GET has none of; in a thread of each connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(say(self.path, b""))

        def do_POST(self) -> None:
            self._answer(say(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, answer: Answer) -> None:
            if answer is None:
                self.close_connection = True
                return
            status, said = answer
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who hung up on it is its own business."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
