"""How much a request can cost at most, and how much it surely used: decided before and without its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.catalog import Model, bound_usd_nanos
from engine.request import CompletionRequest
from engine.usage import Usage
from ledger.money import MAX_USD_NANOS

IMAGE_TOKENS = 50_000
"""Of one image: the dearest that OpenAI counts is gpt-4o-mini's, 2,833 and 5,667 for each of at most eight tiles."""
LIKELY_IMAGE_TOKENS = 1_000
"""Of one image in an estimate: OpenAI's high detail and Anthropic's megapixel are between 700 and 1,600."""
TEMPLATE_TOKENS = 128
"""What a chat template adds by itself: control tokens, a date, an empty system message."""
BYTES_PER_TOKEN = 4
"""Of an estimate; a bound takes every byte for a token."""
DEFAULT_MAX_TOKENS = 4_096
"""Where neither the caller nor the catalog sets a limit: an answer without one cannot be bounded."""
LEAST_TOKENS = 16
"""An answer whose length the balance decides is not asked for with less than these."""
FAIR_TOKENS = 256
"""One whose length a limit of cost decides, with less than these, so that no model is chosen for a mere beginning."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that one call can use, and what that costs at the model's price."""

    prompt_tokens: int
    max_tokens: int
    """what the upstream is told: the limit of one answer, reasoning included"""
    completion_tokens: int
    """of all answers that are asked for"""
    usd_nanos: int
    least_usd_nanos: int
    """what must be had for it: all of it where the caller set the limit, else enough for LEAST_TOKENS"""


def bound(request: CompletionRequest, model: Model, most_usd_nanos: int = MAX_USD_NANOS) -> Bound:
    """Each UTF-8 byte of messages, tools and schema counts as a token, since no tokenizer makes more of it.

    Where the caller sets no limit, the answer is as long as the model can make it and as `most_usd_nanos` affords.
    """
    image_bytes = sum(len(url.encode()) for url in request.images)
    prompt_tokens = request.prompt_bytes - image_bytes + IMAGE_TOKENS * len(request.images) + TEMPLATE_TOKENS
    longest = model.max_output or DEFAULT_MAX_TOKENS
    if request.max_tokens is not None:
        max_tokens = request.max_tokens if model.max_output is None else min(request.max_tokens, model.max_output)
        cost = bound_usd_nanos(prompt_tokens, max_tokens * request.choices, model.price)
        return Bound(prompt_tokens, max_tokens, max_tokens * request.choices, cost, cost)
    cost = bound_usd_nanos(prompt_tokens, longest * request.choices, model.price)
    least_tokens = min(LEAST_TOKENS, longest) * request.choices
    least = bound_usd_nanos(prompt_tokens, least_tokens, model.price)
    whole = Bound(prompt_tokens, longest, longest * request.choices, cost, least)
    shorter = within(whole, request, model, most_usd_nanos)
    return shorter or afforded(whole, request, model, _fair_usd_nanos(whole, request, model))


def within(limit: Bound, request: CompletionRequest, model: Model, most_usd_nanos: int) -> Bound | None:
    """The same call at no more than this, its answers shorter where the caller set no limit.

    None where they would be cut below that limit, or without one, below FAIR_TOKENS.
    """
    if limit.usd_nanos <= most_usd_nanos:
        return limit
    if request.max_tokens is not None or most_usd_nanos < _fair_usd_nanos(limit, request, model):
        return None
    return afforded(limit, request, model, most_usd_nanos)


def afforded(limit: Bound, request: CompletionRequest, model: Model, usd_nanos: int) -> Bound:
    """The same call with the longest answers that the amount, which is no less than its least, pays for."""
    if usd_nanos >= limit.usd_nanos:
        return limit
    prompt_cost = bound_usd_nanos(limit.prompt_tokens, 0, model.price)
    million = bound_usd_nanos(limit.prompt_tokens, 1_000_000, model.price) - prompt_cost
    completion_tokens = (usd_nanos - prompt_cost) * 1_000_000 // max(million + 1, 1)
    max_tokens = max(1, min(completion_tokens // request.choices, limit.max_tokens))
    return replace(limit, max_tokens=max_tokens, completion_tokens=max_tokens * request.choices, usd_nanos=usd_nanos)


def _fair_usd_nanos(limit: Bound, request: CompletionRequest, model: Model) -> int:
    fair_tokens = min(FAIR_TOKENS, limit.max_tokens) * request.choices
    return bound_usd_nanos(limit.prompt_tokens, fair_tokens, model.price)


def estimate(request: CompletionRequest, limit: Bound, produced_bytes: int, hidden_tokens: int = 0) -> Usage:
    """What a call used of which no count is to be had: the prompt, what was seen of the answer, and so much unseen.

    Never more than the bound.
    """
    output_tokens = min(_tokens(produced_bytes), limit.completion_tokens)
    return Usage(
        input_tokens=min(_tokens(request.read_bytes) + LIKELY_IMAGE_TOKENS * len(request.images), limit.prompt_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=min(hidden_tokens, limit.completion_tokens - output_tokens),
    )


def hidden_tokens(model: Model, silent_us: int) -> int:
    """What a model that reasons wrote unseen before its first token: as much as its pace allows, once the time that
    such a token takes without any was over."""
    if model.capabilities is None or "reasoning" not in model.capabilities:
        return 0
    return max(0, silent_us // 1_000 - model.seed_first_token_ms) * model.seed_tokens_per_s // 1_000


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
