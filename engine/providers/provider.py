"""What the engine asks of every provider, and what it gets back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from engine.catalog import Model
from engine.request import CompletionRequest
from engine.usage import Usage


@dataclass(frozen=True)
class Answer:
    """A whole completion: OpenAI's `choices` as they came, and the usage if a well-formed one came with them."""

    choices: list[dict[str, Any]]
    usage: Usage | None


@dataclass(frozen=True)
class Piece:
    """One part of a streamed completion: OpenAI's `choices` with their deltas, the usage on the last one."""

    choices: list[dict[str, Any]]
    usage: Usage | None = None

    @property
    def finishes(self) -> bool:
        return any(choice.get("finish_reason") for choice in self.choices)


class Provider(Protocol):
    """Serves completions of the models of one upstream.

    Both raise UpstreamError leaves, which say whether the call was reached and may be billed, and InvalidInput for
    what this provider cannot take. A stream that ends without an error is whole.
    """

    @property
    def name(self) -> str: ...

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int) -> Answer: ...

    def stream(self, model: Model, request: CompletionRequest, max_tokens: int) -> AsyncGenerator[Piece, None]: ...

    async def close(self) -> None: ...
