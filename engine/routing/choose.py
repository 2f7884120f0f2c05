"""Which model serves a request: one pure function from candidates and request to a ranking."""

from __future__ import annotations

from collections.abc import Sequence

from engine.request import CompletionRequest
from engine.routing.candidate import Candidate

ENOUGH_QUALITY = 0.3
"""Above the offline provider's and below every real tier's: price decides among models that are of use."""


def choose(candidates: Sequence[Candidate], request: CompletionRequest) -> list[Candidate]:
    """The candidates that can serve the request, best first; ties go by id, the order given does not matter.

    A model that was named needs no stated capabilities. Without a name only models with stated capabilities are
    chosen: those of enough quality by what the call can cost, then the others by quality. What is cheaper and better
    never ranks lower.
    """
    able = [candidate for candidate in candidates if _can_serve(candidate, request)]
    return sorted(able, key=_rank)


def _can_serve(candidate: Candidate, request: CompletionRequest) -> bool:
    model = candidate.model
    if request.wanted is not None and not model.answers_to(request.wanted):
        return False
    if model.capabilities is None:
        return request.wanted is not None and _fits(candidate, request)
    return request.needs <= model.capabilities and _fits(candidate, request)


def _fits(candidate: Candidate, request: CompletionRequest) -> bool:
    window = candidate.model.context_window
    # The bound takes bytes for tokens and would shut out most long prompts: a window is judged by the estimate.
    return window is None or sum(len(text) for text in request.texts) // 4 < window


def _rank(candidate: Candidate) -> tuple[bool, float, int, float, str]:
    quality = candidate.model.quality or 0.0
    lacking = quality < ENOUGH_QUALITY
    return (lacking, -quality if lacking else 0.0, candidate.bound.usd_nanos, -quality, candidate.model.id)
