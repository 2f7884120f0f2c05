"""What the HTTP request of a chat completion says beside its body's fields: its bytes, its delivery, its retries."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from starlette.types import Receive

from agentnode.api.keyed import KEEP_S
from ledger.accounts import Caller
from ledger.errors import InvalidInput, Unavailable

MAX_BODY_BYTES = 50_000_000
MAX_BODIES_BYTES = 5 * MAX_BODY_BYTES
_MANY_PARTS = 1_000_000
"""Values in a body: each takes some 60 bytes once it is read, however few it is written in."""
RETRY_S = 600
"""How long an SDK's retry finds the answer of its first try."""


class Room:
    """Bytes that the bodies of all requests at work in this process may have together."""

    def __init__(self, most_bytes: int = MAX_BODIES_BYTES) -> None:
        self._left_bytes = most_bytes

    @contextlib.contextmanager
    def part(self) -> Iterator[Part]:
        """A request's part, given back at its end."""
        part = Part(self)
        try:
            yield part
        finally:
            self._left_bytes += part.size_bytes

    def take(self, size_bytes: int) -> None:
        """Raises Unavailable where there is not so much left."""
        if size_bytes > self._left_bytes:
            raise Unavailable("this process has its hands full of large requests; try again", retry_after_ms=1_000)
        self._left_bytes -= size_bytes


class Part:
    def __init__(self, room: Room) -> None:
        self._room = room
        self.size_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """To at least so many bytes. Raises InvalidInput beyond what one body may have, and Unavailable."""
        if size_bytes > MAX_BODY_BYTES:
            raise _too_large()
        if size_bytes > self.size_bytes:
            self._room.take(size_bytes - self.size_bytes)
            self.size_bytes = size_bytes


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], part: Part) -> bytes:
    """Raises InvalidInput for what is too large, before it is read where its length is told, or of too many parts;
    Unavailable where the process holds as much as it may."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and (len(stated) > 15 or int(stated) > MAX_BODY_BYTES):
        raise _too_large()
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        part.grow(size)
        more = message.get("more_body", False)
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if size > _MANY_PARTS and body.count(b",") + body.count(b"[") + body.count(b"{") > _MANY_PARTS:
        raise InvalidInput("body", f"must have at most {_MANY_PARTS} parts")
    return body


def _too_large() -> InvalidInput:
    return InvalidInput("body", f"must have at most {MAX_BODY_BYTES} bytes")


def in_one_order(body: Any) -> bytes:
    """The same bytes for the same body, in whichever order it names its fields. Raises InvalidInput."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise InvalidInput("body", "is nested too deep") from None


def delivery_of(body: dict[str, Any], keyed: bool) -> tuple[bool, bool]:
    """Whether the answer is streamed, and with a chunk of its usage. Raises InvalidInput."""
    streamed, wishes = body.get("stream"), body.get("stream_options")
    if not isinstance(streamed, bool | None):
        raise InvalidInput("stream", "must be true or false")
    if not isinstance(wishes, dict | None):
        raise InvalidInput("stream_options", "must be an object")
    with_usage = wishes.get("include_usage") if wishes else None
    if not isinstance(with_usage, bool | None):
        raise InvalidInput("stream_options.include_usage", "must be true or false")
    if streamed and keyed:
        raise InvalidInput("stream", "must be false under an Idempotency-Key: only a whole answer is kept for it")
    return bool(streamed), bool(with_usage)


def retry_of(caller: Caller, raw: bytes, headers: dict[bytes, bytes]) -> tuple[str | None, int]:
    """Of equal requests the same, where the client may send one again; and how long its answer is kept for that."""
    key = headers.get(b"idempotency-key")
    if key is None and b"x-stainless-retry-count" not in headers:
        return None, 0
    told = hashlib.sha256(b"%b\n%b\n%b" % (str(caller.key_id).encode(), key or b"", raw)).hexdigest()
    return told, RETRY_S if key is None else KEEP_S
