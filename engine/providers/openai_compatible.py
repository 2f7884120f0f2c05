"""The adapter for upstreams that speak OpenAI's chat completions over HTTP, streaming and not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson

from engine.catalog import Model
from engine.errors import StreamCut, UpstreamGarbled, UpstreamTimedOut, UpstreamUnreachable
from engine.providers.openai_shapes import choices_of, error_of, usage_of
from engine.providers.provider import Answer, Piece
from engine.request import CompletionRequest
from engine.upstream import Upstream

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 5.0
QUIET_TIMEOUT_S = 120.0
"""Without a byte from the upstream for so long, it is taken for dead."""
TOTAL_TIMEOUT_S = 600.0
MAX_ANSWER_BYTES = 32_000_000
_MAX_ERROR_BYTES = 100_000


class OpenAICompatible:
    """One upstream. Its session is opened with the first call and kept."""

    def __init__(self, upstream: Upstream, api_key: str | None, quiet_timeout_s: float = QUIET_TIMEOUT_S) -> None:
        self._upstream = upstream
        self._api_key = api_key
        self._quiet_timeout_s = quiet_timeout_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return self._upstream.name

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int) -> Answer:
        async with self._post(self._body(model, request, max_tokens)) as reply:
            body = _json(b"".join([part async for part in _bounded(reply.content)]))
        choices = choices_of(body, "message")
        if not choices or not all(choice.get("finish_reason") for choice in choices):
            raise UpstreamGarbled(f"{self.name} answered without a finished choice")
        return Answer(choices, usage_of(body.get("usage")))

    async def stream(self, model: Model, request: CompletionRequest, max_tokens: int) -> AsyncGenerator[Piece, None]:
        body = self._body(model, request, max_tokens)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        finished: set[int] = set()
        async with self._post(body) as reply:
            async for data in _events(reply.content):
                if data == b"[DONE]":
                    break
                chunk = _json(data)
                if isinstance(chunk, dict) and chunk.get("error"):
                    raise StreamCut(f"{self.name} broke off its answer with an error")
                piece = Piece(choices_of(chunk, "delta"), usage_of(chunk.get("usage")))
                finished |= {choice.get("index", 0) for choice in piece.choices if choice.get("finish_reason")}
                yield piece
        if len(finished) < request.choices:
            raise StreamCut(f"{self.name} ended its stream before its answer was finished")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _body(self, model: Model, request: CompletionRequest, max_tokens: int) -> dict[str, Any]:
        return {
            "model": model.name,
            "messages": request.messages,
            self._upstream.max_tokens_field: max_tokens,
            **request.forwarded,
        }

    @contextlib.asynccontextmanager
    async def _post(self, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The reply, once it is a 200; everything that aiohttp can raise becomes one of ours."""
        import aiohttp

        answered = False
        try:
            async with self._opened().post(
                f"{self._upstream.base_url}/chat/completions", data=orjson.dumps(body), allow_redirects=False
            ) as reply:
                answered = True
                if reply.status != 200:
                    raw = await reply.content.read(_MAX_ERROR_BYTES)
                    retry_after = reply.headers.get("Retry-After")
                    raise error_of(reply.status, _json_or_none(raw), retry_after, self.name)
                yield reply
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UpstreamUnreachable(f"{self.name} cannot be reached at {self._upstream.base_url}") from error
        except TimeoutError as error:
            raise UpstreamTimedOut(f"{self.name} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise StreamCut(
                f"{self.name} {'broke off its answer' if answered else 'closed the connection without an answer'}"
            ) from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            if self._api_key:
                headers["Authorization"] = f"Bearer {self._api_key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    total=TOTAL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=self._quiet_timeout_s
                ),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _bounded(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    size = 0
    async for part in content.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamGarbled("the upstream's answer has no end")
        yield part


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The data of each server-sent event. One chunk is one line of `data:`, as every upstream sends it."""
    buffer = b""
    async for part in _bounded(content):
        *lines, buffer = (buffer + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if buffer.startswith(b"data:"):
        yield buffer[5:].strip()


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UpstreamGarbled("the upstream's answer is not JSON") from None


def _json_or_none(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
