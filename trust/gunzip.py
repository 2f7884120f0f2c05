"""Gzip unpacked in small pieces, so that a bomb is stopped by whoever counts them and never stands in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from trust.errors import FetchFailed

_PIECE_BYTES = 65_536


class Gunzip:
    """One gzip member (RFC 1952); what follows it, and an end before its end, is refused."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._fed = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._fed = self._fed or bool(chunk)
        while chunk:
            if self._inflate.eof:
                raise FetchFailed("the answer goes on behind its compressed body")
            try:
                piece = self._inflate.decompress(chunk, _PIECE_BYTES)
            except zlib.error:
                raise FetchFailed("the answer is not the gzip that it says it is") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece

    def finish(self) -> None:
        # An answer without a body (HEAD, 204) may still name an encoding.
        if self._fed and not self._inflate.eof:
            raise FetchFailed("the answer ends before its compressed body does")
