"""The bytes of a chat completion's body, read as far as this process has room for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping

from starlette.types import Receive

from agentnode.api.errors import BodyTooSlow
from ledger.errors import InvalidInput, Unavailable

MAX_BODY_BYTES = 50_000_000
MAX_BODIES_BYTES = 5 * MAX_BODY_BYTES
FREE_BYTES = 65_536
"""Of each body: what a socket's buffers take of it anyway."""
_MANY_PARTS = 1_000_000
"""Values in a body: each takes some 60 bytes once it is read, however few it is written in."""


class Room:
    """Bytes that the bodies of all requests at work in this process may have together, and those of one tenant.

    The beginning of each body is free, so that whoever sends little finds room though others fill it with much.
    """

    def __init__(
        self,
        most_bytes: int = MAX_BODIES_BYTES,
        most_of_one_bytes: int = 2 * MAX_BODY_BYTES,
        free_bytes: int = FREE_BYTES,
    ) -> None:
        self.free_bytes = free_bytes
        self._left_bytes, self._most_of_one_bytes = most_bytes, most_of_one_bytes
        self._taken_bytes: Counter[str] = Counter()

    @contextlib.contextmanager
    def part(self) -> Iterator[Part]:
        """A request's part, given back at its end."""
        part = Part(self)
        try:
            yield part
        finally:
            if part.counted_bytes:
                self._left_bytes += part.counted_bytes
                self._taken_bytes[part.tenant_id] -= part.counted_bytes
                if not self._taken_bytes[part.tenant_id]:
                    del self._taken_bytes[part.tenant_id]

    def take(self, tenant_id: str, size_bytes: int) -> None:
        """Raises Unavailable where there is not so much left."""
        if size_bytes > min(self._left_bytes, self._most_of_one_bytes - self._taken_bytes[tenant_id]):
            raise Unavailable("this process has its hands full of large requests; try again", retry_after_ms=1_000)
        self._left_bytes -= size_bytes
        self._taken_bytes[tenant_id] += size_bytes


class Part:
    def __init__(self, room: Room) -> None:
        self._room = room
        self.tenant_id = ""
        self.counted_bytes = 0

    def grow(self, tenant_id: str, size_bytes: int) -> None:
        """To at least so many bytes. Raises InvalidInput beyond what one body may have, and Unavailable."""
        if size_bytes > MAX_BODY_BYTES:
            raise _too_large()
        more = size_bytes - self._room.free_bytes - self.counted_bytes
        if more > 0:
            self._room.take(tenant_id, more)
            self.tenant_id = tenant_id
            self.counted_bytes += more


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], part: Part, tenant_id: str, within_s: float
) -> bytes:
    """Raises InvalidInput for what is too large, before it is read where its length is told, of too many parts, or
    broke off; BodyTooSlow; Unavailable where the process holds as much as it may."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and (len(stated) > 15 or int(stated) > MAX_BODY_BYTES):
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    part.grow(tenant_id, len(body))
    if message.get("more_body"):
        try:
            async with asyncio.timeout(within_s):
                body = await _rest(receive, body, part, tenant_id)
        except TimeoutError:
            raise BodyTooSlow(f"the whole of a body must come within {within_s:g} s") from None
    if len(body) > _MANY_PARTS and body.count(b",") + body.count(b"[") + body.count(b"{") > _MANY_PARTS:
        raise InvalidInput("body", f"must have at most {_MANY_PARTS} parts")
    return body


async def _rest(receive: Receive, begun: bytes, part: Part, tenant_id: str) -> bytes:
    pieces, size, more = [begun], len(begun), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("body", "broke off")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        part.grow(tenant_id, size)
        more = message.get("more_body", False)
    return b"".join(pieces)


def _too_large() -> InvalidInput:
    return InvalidInput("body", f"must have at most {MAX_BODY_BYTES} bytes")
