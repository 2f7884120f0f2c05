"""HTTP to one upstream: one POST, its answer whole or as server-sent events, foreign errors turned into ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from engine.errors import StreamCut, UpstreamError, UpstreamGarbled, UpstreamTimedOut, UpstreamUnreachable
from engine.providers.provider import Piece, Timing
from engine.providers.refusals import error_of
from ledger.errors import InvalidInput

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 5.0
QUIET_TIMEOUT_S = 120.0
"""Without a byte from the upstream for so long, it is taken for dead."""
MAX_ANSWER_BYTES = 32_000_000
_MAX_ERROR_BYTES = 100_000
_NESTED_AT_MOST = 200
_DONE = b"[DONE]"


class Reading(Protocol):
    """Reads the events of one stream, in their order."""

    @property
    def is_finished(self) -> bool:
        """The answer came to its end."""

    def pieces(self, event: Any) -> list[Piece]:
        """Raises UpstreamError leaves."""


class ServerSentEvents:
    """Splits a body that comes in parts into its events. One event has one line of `data:`, as every upstream sends it.

    Raises UpstreamGarbled for a body without end.
    """

    def __init__(self) -> None:
        self._begun = b""
        self._size = 0

    def read(self, part: bytes) -> list[bytes]:
        """The data of the events that end in it, up to the one that says the stream is done."""
        self._size += len(part)
        _check_size(self._size)
        *lines, self._begun = (self._begun + part).split(b"\n")
        return _up_to_done(lines)

    def rest(self) -> list[bytes]:
        """What came last, without a line's end."""
        line, self._begun = self._begun, b""
        return _up_to_done([line])


def _up_to_done(lines: Sequence[bytes]) -> list[bytes]:
    came = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return came[: came.index(_DONE) + 1] if _DONE in came else came


class UpstreamHTTP:
    """The connections to one upstream. Its session is opened with the first call and kept."""

    def __init__(
        self, name: str, base_url: str, headers: Mapping[str, str], quiet_timeout_s: float = QUIET_TIMEOUT_S
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        self._quiet_timeout_s = quiet_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def whole(self, path: str, body: Any, timing: Timing) -> Any:
        """The JSON of a 200. Raises UpstreamError leaves."""
        import aiohttp

        answered = False
        began = asyncio.get_running_loop().time()
        first_byte_s = min(timing.first_byte_s, self._quiet_timeout_s)
        # One timer, moved once, where aiohttp would set two: 40 us of CPU over the bare call instead of 55.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_connect_s(timing))
        try:
            async with asyncio.timeout_at(began + first_byte_s) as deadline:
                async with await self._post(path, body, timeout) as reply:
                    answered = True
                    deadline.reschedule(began + timing.total_s)
                    if reply.status != 200:
                        raise await self._refusal(reply)
                    _check_plain(reply)
                    return parsed(await _read(reply))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._translated(error, answered) from error

    async def stream(self, path: str, body: Any, timing: Timing, reading: Reading) -> AsyncGenerator[list[Piece], None]:
        """The pieces of the events of a 200, those together that came together. Raises UpstreamError leaves."""
        import aiohttp

        answered = False
        first_byte_at = asyncio.get_running_loop().time() + timing.first_byte_s
        # aiohttp's own timers, which stand still while whoever reads this stream does something else.
        timeout = aiohttp.ClientTimeout(
            total=timing.total_s, sock_connect=_connect_s(timing), sock_read=self._quiet_timeout_s
        )
        try:
            async with asyncio.timeout_at(first_byte_at):
                reply = await self._post(path, body, timeout)
            async with reply:
                answered = True
                if reply.status != 200:
                    raise await self._refusal(reply)
                _check_plain(reply)
                events = ServerSentEvents()
                async with asyncio.timeout_at(first_byte_at):
                    came = await _next(reply.content, events)
                while came:
                    pieces, error = _pieces_of(came, reading)
                    if pieces:
                        yield pieces
                    if error is not None:
                        raise error
                    came = [] if came[-1] == _DONE else await _next(reply.content, events)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._translated(error, answered) from error
        if not reading.is_finished:
            raise StreamCut(f"{self.name} ended its stream before its answer was finished")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, path: str, body: Any, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        try:
            data = orjson.dumps(body)
        except TypeError:
            raise InvalidInput("body", "must be JSON with numbers of 64 bits") from None
        return await self._opened().post(self._base_url + path, data=data, timeout=timeout, allow_redirects=False)

    async def _refusal(self, reply: aiohttp.ClientResponse) -> UpstreamError:
        raw = await reply.content.read(_MAX_ERROR_BYTES)
        try:
            said = orjson.loads(raw)
        except orjson.JSONDecodeError:
            said = None
        return error_of(reply.status, said, reply.headers, self.name)

    def _translated(self, error: Exception, answered: bool) -> UpstreamError:
        import aiohttp

        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return UpstreamUnreachable(f"{self.name} cannot be reached at {self._base_url}")
        if isinstance(error, TimeoutError):
            return UpstreamTimedOut(f"{self.name} did not answer in time")
        what = "broke off its answer" if answered else "closed the connection without an answer"
        return StreamCut(f"{self.name} {what}")

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def _connect_s(timing: Timing) -> float:
    """Less than the first byte has, so that a connection that hangs is told from an answer that does."""
    return min(CONNECT_TIMEOUT_S, timing.first_byte_s / 2)


def parsed(raw: bytes) -> Any:
    """Raises UpstreamGarbled, also for what is nested deeper than it could be written again."""
    try:
        value = orjson.loads(raw)
        if raw.count(b"[") + raw.count(b"{") > _NESTED_AT_MOST:
            orjson.dumps([[[[value]]]])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise UpstreamGarbled("the upstream's answer is not JSON, or nested too deep") from None
    return value


def _check_plain(reply: aiohttp.ClientResponse) -> None:
    """What is compressed though it was asked not to be can be a thousand times larger than it looks."""
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise UpstreamGarbled("the upstream's answer is compressed, which it was asked not to be")


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    if reply.content_length is not None and reply.content_length <= MAX_ANSWER_BYTES:
        return await reply.read()
    parts, size = [], 0
    while part := await reply.content.readany():
        size += len(part)
        _check_size(size)
        parts.append(part)
    return b"".join(parts)


async def _next(content: aiohttp.StreamReader, events: ServerSentEvents) -> list[bytes]:
    """The events that came next; none at the end."""
    while part := await content.readany():
        if came := events.read(part):
            return came
    return events.rest()


def _pieces_of(came: Sequence[bytes], reading: Reading) -> tuple[list[Piece], UpstreamError | None]:
    """What could be read of events that came together, and what ended it."""
    pieces: list[Piece] = []
    try:
        for data in came:
            if data == _DONE:
                break
            pieces += reading.pieces(parsed(data))
    except UpstreamError as error:
        return pieces, error
    return pieces, None


def _check_size(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise UpstreamGarbled("the upstream's answer has no end")
