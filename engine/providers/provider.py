"""What the engine asks of every provider, and what it gets back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engine.catalog import Model
from engine.request import CompletionRequest
from engine.usage import Usage


@dataclass(frozen=True, slots=True)
class Timing:
    """The deadlines of one attempt, counted from its start."""

    first_byte_s: float
    """Until the headers of a whole answer, or the first event of a stream; then UpstreamTimedOut."""
    total_s: float
    """Until the answer's end; then UpstreamTimedOut."""


PATIENT = Timing(first_byte_s=120.0, total_s=600.0)
"""Of a call that has no deadline of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole completion. `body` is the upstream's `chat.completion` object, with at least one finished choice."""

    body: dict[str, Any]
    usage: Usage | None
    """None where no well-formed one came with it."""

    @property
    def choices(self) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = self.body["choices"]
        return choices


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a streamed completion. `chunk` is the upstream's `chat.completion.chunk` object.

    Its `choices` are a list, each with a `delta`. Where several pieces carry a usage, the last one counts.
    """

    chunk: dict[str, Any]
    usage: Usage | None = None

    @property
    def choices(self) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = self.chunk["choices"]
        return choices


class Provider(Protocol):
    """Serves completions of the models of one upstream.

    `max_tokens` limits one answer. Both raise UpstreamError leaves, which say whether the call was reached and may be
    billed, and InvalidInput for what this provider cannot take. A stream yields together what came together; one that
    ends without an error is whole.
    """

    @property
    def name(self) -> str: ...

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Answer: ...

    def stream(
        self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing
    ) -> AsyncGenerator[list[Piece], None]: ...

    async def close(self) -> None: ...


@runtime_checkable
class UpstreamProvider(Provider, Protocol):
    """One that asks an upstream over its API: an adapter (docs/models.md says how one is added)."""

    async def raw(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Any:
        """The answer's JSON as the upstream sent it."""
