"""How much a request can cost at most, and how much it surely used: decided before and without its answer."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog import Model, bound_usd_nanos
from engine.request import CompletionRequest
from engine.usage import Usage

IMAGE_TOKENS = 50_000
"""Of one image: the dearest that OpenAI counts is gpt-4o-mini's, 2,833 and 5,667 for each of at most eight tiles."""
TEMPLATE_TOKENS = 128
"""What a chat template adds by itself: control tokens, a date, an empty system message."""
BYTES_PER_TOKEN = 4
"""Of an estimate; a bound takes every byte for a token."""
DEFAULT_MAX_TOKENS = 1_024
"""Where the caller sets no limit: an answer without one cannot be bounded."""


@dataclass(frozen=True)
class Bound:
    """The most that one call can use, and what that costs at the model's price."""

    prompt_tokens: int
    max_tokens: int
    """what the upstream is told: the limit of one answer, reasoning included"""
    completion_tokens: int
    """of all answers that are asked for"""
    usd_nanos: int


def bound(request: CompletionRequest, model: Model) -> Bound:
    """Each UTF-8 byte of messages, tools and schema counts as a token, since no tokenizer makes more of it."""
    limit = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    max_tokens = limit if model.max_output is None else min(limit, model.max_output)
    image_bytes = sum(len(url.encode()) for url in request.images)
    prompt_tokens = request.prompt_bytes - image_bytes + IMAGE_TOKENS * len(request.images) + TEMPLATE_TOKENS
    completion_tokens = max_tokens * request.choices
    cost = bound_usd_nanos(prompt_tokens, completion_tokens, model.price)
    return Bound(prompt_tokens, max_tokens, completion_tokens, cost)


def estimate(request: CompletionRequest, limit: Bound, produced_bytes: int) -> Usage:
    """What a call used of which no count is to be had: the prompt, and what was seen of the answer.

    Never more than the bound.
    """
    prompt_bytes = sum(len(text.encode()) for text in request.texts)
    return Usage(
        input_tokens=min(_tokens(prompt_bytes), limit.prompt_tokens),
        output_tokens=min(_tokens(produced_bytes), limit.completion_tokens),
    )


def believable(usage: Usage | None, limit: Bound, produced_bytes: int) -> bool:
    """Whether an upstream's count can be true: something was read, what was written was counted, and no count is
    over twice its bound. (Hidden prompts and reasoning beyond the limit do happen: such an overrun is booked as one.)
    """
    if usage is None or usage.prompt_tokens == 0:
        return False
    if usage.completion_tokens == 0 and produced_bytes > 0:
        return False
    return usage.prompt_tokens <= 2 * limit.prompt_tokens and usage.completion_tokens <= 2 * limit.completion_tokens


def _tokens(size_bytes: int) -> int:
    return -(-size_bytes // BYTES_PER_TOKEN)
