"""One client's HTTP connection: uvicorn's, which would take a head of any size at any pace, and wait for ever for who
does not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ledger.errors import InvalidInput

HEAD_S = 30.0
STALL_S = 120.0
MOST_HEAD_BYTES = 262_144


class Connection(HttpToolsProtocol):
    """Closed where the next head has not come whole `head_s` after the last answer, or is too large, and where of an
    answer nothing was read for `stall_s`.

    What is no HTTP is refused in the shape of every refusal.
    """

    head_s = HEAD_S
    stall_s = STALL_S
    most_head_bytes = MOST_HEAD_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head, self._heads, self._head_bytes = True, 0, 0
        self._patience: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._no_more_patience()
        if self._stalled is not None:
            self._stalled.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def data_received(self, data: bytes) -> None:
        before = self._in_head, self._heads
        super().data_received(data)
        if before != (True, self._heads) or not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.most_head_bytes:
            self._refuse(f"has a head of more than {self.most_head_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, which uvicorn would put among the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._heads, self._head_bytes = False, self._heads + 1, 0
        self._no_more_patience()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._be_patient()

    def send_400_response(self, msg: str) -> None:
        self._refuse("is not HTTP")

    def _refuse(self, problem: str) -> None:
        body = json.dumps({"error": InvalidInput("request", problem).as_dict()}).encode()
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _be_patient(self) -> None:
        self._no_more_patience()
        if not self.transport.is_closing():
            self._patience = self.loop.call_later(self.head_s, self._give_up)

    def _no_more_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
