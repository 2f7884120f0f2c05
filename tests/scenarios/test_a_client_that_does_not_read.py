"""A client of a stream that stops reading is given up, so that it keeps neither its slot nor its hold."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.scenarios.engine_books import Books, books_of
from tests.scenarios.engine_node import api, new_key, running, settings_of, upstream_at
from tests.upstream import run_upstream

WORDS = " ".join(["x" * 60_000] * 300)
"""More than the sockets between take."""


def ended(books: Books) -> bool:
    return bool(books.holds) and {hold.state for hold in books.holds} == {"captured"}


def until(holds: Callable[[], bool], timeout_s: float = 30) -> None:
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends


def test_a_stream_that_nobody_reads_is_ended_and_charged_as_far_as_it_came(tmp_path: Path) -> None:
    """Its upstream is stopped, its slot free, and its one row says that it was cut short; others are served."""
    with run_upstream() as mock:
        mock.behave({"text": WORDS})
        settings = settings_of(tmp_path, [upstream_at("mock", mock.api)], client_stall_s=0.5)
        key = new_key(settings, {"concurrent": 1})
        with running(settings) as node, api(node.url, key) as client, socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            at = urlsplit(node.url)
            silent.connect((at.hostname, at.port))
            messages = [{"role": "user", "content": "a long story"}]
            body = json.dumps({"model": "m1", "messages": messages, "stream": True, "max_tokens": 4_096})
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {key}\r\n"
            silent.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            mock.until(lambda calls: calls["left"] == 1)
            until(lambda: ended(asyncio.run(books_of(settings.database))))
            books = asyncio.run(books_of(settings.database))
            books.assert_settled()
            [call] = books.calls
            assert (call.decision, bool(call.estimated)) == ("cut_short", True) and call.cost_usd_nanos > 0
            answer = client.post("/chat/completions", json={"model": "m1", "messages": messages})
            assert answer.status_code == 200, answer.text
