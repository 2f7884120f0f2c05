"""The adapter for upstreams that speak OpenAI's chat completions over HTTP, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from engine.catalog import Model
from engine.providers.openai_answer import Chunks, answer_of
from engine.providers.provider import Answer, Piece, Timing
from engine.providers.upstream_http import QUIET_TIMEOUT_S, UpstreamHTTP
from engine.request import CompletionRequest
from engine.upstream import Upstream

_PATH = "/chat/completions"


class OpenAICompatible:
    """One upstream."""

    def __init__(self, upstream: Upstream, api_key: str | None, quiet_timeout_s: float = QUIET_TIMEOUT_S) -> None:
        self._upstream = upstream
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = UpstreamHTTP(upstream.name, upstream.base_url, headers, quiet_timeout_s)

    @property
    def name(self) -> str:
        return self._upstream.name

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Answer:
        return answer_of(await self.raw(model, request, max_tokens, timing), self.name)

    async def raw(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Any:
        """The answer's JSON as the upstream sent it."""
        return await self._http.whole(_PATH, self._body(model, request, max_tokens), timing)

    def stream(
        self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing
    ) -> AsyncGenerator[list[Piece], None]:
        body = self._body(model, request, max_tokens)
        body["stream"] = True
        if self._upstream.streams_usage:
            body["stream_options"] = {"include_usage": True}
        return self._http.stream(_PATH, body, timing, Chunks(self.name, request.choices))

    async def close(self) -> None:
        await self._http.close()

    def _body(self, model: Model, request: CompletionRequest, max_tokens: int) -> dict[str, Any]:
        upstream = self._upstream
        body = {
            "model": upstream.model_prefix + model.name,
            "messages": request.messages,
            upstream.max_tokens_field: max_tokens,
            **request.forwarded,
        }
        upstream.refuse_unsupported(body)
        for name, own in upstream.renamed:
            if name in body:
                body[own] = body.pop(name)
        return body
