"""What is ranked: a model that could be called, what the call can cost at most, and what the request needs of it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog import Model
from engine.guard import Bound
from engine.request import CompletionRequest

EXPECTED_ANSWER_TOKENS = 500
"""Of one answer, where the limit is not lower: what costs and times are compared for."""
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Candidate:
    """A model that could be called for a request, and what the call can cost at most."""

    model: Model
    bound: Bound


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request asks of whoever serves it. Token counts are estimates: bounds are for money, not for choosing."""

    wanted: str | None
    """The model that was named; None leaves it to the engine."""
    capabilities: frozenset[str]
    asked: frozenset[str]
    """The options that are set; `n` of 1 asks for nothing."""
    prompt_tokens: int
    answer_tokens: int


def needs_of(request: CompletionRequest) -> Needs:
    limit = EXPECTED_ANSWER_TOKENS if request.max_tokens is None else min(request.max_tokens, EXPECTED_ANSWER_TOKENS)
    return Needs(
        wanted=request.wanted,
        capabilities=request.needs,
        asked=frozenset(name for name, value in request.forwarded.items() if name != "n" or value != 1),
        prompt_tokens=sum(map(len, request.texts)) // CHARACTERS_PER_TOKEN + 1,
        answer_tokens=limit * request.choices,
    )
