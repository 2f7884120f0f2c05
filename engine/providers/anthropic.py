"""The adapter for Anthropic's Messages API, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from engine.catalog import Model
from engine.providers.anthropic_answer import Events, answer_of
from engine.providers.anthropic_request import messages_body
from engine.providers.provider import Answer, Piece, Timing
from engine.providers.upstream_http import QUIET_TIMEOUT_S, UpstreamHTTP
from engine.request import CompletionRequest
from engine.upstream import Upstream
from ledger.clock import SECOND_US, Clock, SystemClock

VERSION = "2023-06-01"
_PATH = "/messages"


class Anthropic:
    """One upstream that speaks it: Anthropic itself, or who stands in for it at another address."""

    def __init__(
        self,
        upstream: Upstream,
        api_key: str | None,
        quiet_timeout_s: float = QUIET_TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock or SystemClock()
        headers = {"anthropic-version": VERSION} | ({"x-api-key": api_key} if api_key else {})
        self._http = UpstreamHTTP(upstream.name, upstream.base_url, headers, quiet_timeout_s)

    @property
    def name(self) -> str:
        return self._upstream.name

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Answer:
        return answer_of(await self.raw(model, request, max_tokens, timing), self._created_s())

    async def raw(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Any:
        """The answer's JSON as the upstream sent it."""
        return await self._http.whole(_PATH, self._body(model, request, max_tokens), timing)

    def stream(
        self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing
    ) -> AsyncGenerator[list[Piece], None]:
        body = self._body(model, request, max_tokens) | {"stream": True}
        return self._http.stream(_PATH, body, timing, Events(self._created_s()))

    async def close(self) -> None:
        await self._http.close()

    def _body(self, model: Model, request: CompletionRequest, max_tokens: int) -> dict[str, Any]:
        self._upstream.refuse_unsupported(dict(request.forwarded))
        return messages_body(model, request, max_tokens)

    def _created_s(self) -> int:
        return self._clock.now_us() // SECOND_US
