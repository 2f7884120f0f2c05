"""The adapter for upstreams that speak OpenAI's chat completions over HTTP, streaming and not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from engine.catalog import Model
from engine.errors import StreamCut
from engine.providers.openai_shapes import answer_of, piece_of
from engine.providers.provider import Answer, Piece, Timing
from engine.providers.upstream_http import QUIET_TIMEOUT_S, UpstreamHTTP, parsed
from engine.request import CompletionRequest
from engine.upstream import Upstream
from ledger.errors import InvalidInput

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

    async def stream(
        self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing
    ) -> AsyncGenerator[Piece, None]:
        body = self._body(model, request, max_tokens)
        body["stream"] = True
        if self._upstream.streams_usage:
            body["stream_options"] = {"include_usage": True}
        begun = False
        finished: set[int] = set()
        async with contextlib.aclosing(self._http.events(_PATH, body, timing)) as events:
            async for data in events:
                if data == b"[DONE]":
                    break
                piece = piece_of(parsed(data), self.name, begun)
                begun = True
                for choice in piece.chunk["choices"]:
                    if choice.get("finish_reason"):
                        finished.add(choice.get("index", 0))
                yield piece
        if len(finished) < request.choices:
            raise StreamCut(f"{self.name} ended its stream before its answer was finished")

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
        refuse_unsupported(upstream, body)
        for name, own in upstream.renamed:
            if name in body:
                body[own] = body.pop(name)
        return body


def refuse_unsupported(upstream: Upstream, body: dict[str, Any]) -> None:
    """Takes out what asks for nothing (`n` of 1). Raises InvalidInput for an option that the upstream does not take."""
    for name in upstream.unsupported & body.keys():
        if name != "n" or body[name] != 1:
            raise InvalidInput(name, f"is not an option of {upstream.shown}'s models")
        del body[name]
