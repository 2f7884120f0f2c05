"""The upstream of the gateway benchmark: one fixed answer, whole or in 20 chunks, as fast as Python can say it.

`python -m benchmarks.gateway.upstream` prints `ready http://…` and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

import uvloop

CHUNKS = 20
_WORDS = [f" word{number}" for number in range(CHUNKS - 2)]
_USAGE = {"prompt_tokens": 24, "completion_tokens": CHUNKS - 2, "total_tokens": 24 + CHUNKS - 2}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": *true')


def _document(kind: str, **more: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "m1"}
    return json.dumps(head | more).encode()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "".join(_WORDS), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = _document("chat.completion", choices=[choice], usage=_USAGE)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunks() -> list[bytes]:
    """As OpenAI sends them: words, the finish, the usage, the end; each in an HTTP chunk of its own."""
    deltas = [({"content": word}, None) for word in _WORDS] + [({}, "stop")]
    events = [
        _document("chat.completion.chunk", choices=[{"index": 0, "delta": delta, "finish_reason": reason}], usage=None)
        for delta, reason in deltas
    ]
    events += [_document("chat.completion.chunk", choices=[], usage=_USAGE), b"[DONE]"]
    sent = [b"data: " + event + b"\n\n" for event in events]
    parts = [b"%x\r\n%b\r\n" % (len(one), one) for one in sent]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head + parts[0], *parts[1:-1], parts[-1] + b"0\r\n\r\n"]


_WHOLE, _STREAM = _whole(), _chunks()


class Upstream(asyncio.Protocol):
    """Reads no more of a request than its length and whether it wants a stream."""

    def __init__(self) -> None:
        self._got = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        said = _LENGTH.search(self._got, 0, end)
        whole = end + 4 + (int(said[1]) if said else 0)
        if len(self._got) < whole:
            return
        request, self._got = self._got[:whole], self._got[whole:]
        if _STREAMED.search(request, end):
            self._send(0)
        else:
            self._transport.write(_WHOLE)

    def _send(self, number: int) -> None:
        """One chunk a turn of the loop, so that they arrive one by one."""
        self._transport.write(_STREAM[number])
        if number + 1 < len(_STREAM):
            self._loop.call_soon(self._send, number + 1)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2_048)
    sys.stdout.write(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
