"""What tokens cost, in integers: rates in USD nanos per million tokens, and one rounding per call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.usage import Usage

TOKENS_PER_RATE = 1_000_000


@dataclass(frozen=True)
class TokenRate:
    """USD nanos per million tokens, by the size of the prompt.

    Crossing a step's number of prompt tokens puts *all* tokens of the call at its rate, as providers bill it.
    """

    base: int
    steps: tuple[tuple[int, int], ...] = ()
    """(more prompt tokens than this, the rate then), ascending"""

    def at(self, prompt_tokens: int) -> int:
        rate = self.base
        for more_than, stepped in self.steps:
            if prompt_tokens > more_than:
                rate = stepped
        return rate

    def most(self, prompt_tokens: int) -> int:
        """The dearest rate that a prompt of up to so many tokens can be billed at."""
        return max([self.base, *(rate for more_than, rate in self.steps if prompt_tokens > more_than)])


@dataclass(frozen=True)
class ModelPrice:
    """The rates of a model, one for each part of the canonical usage, and which price list they are from."""

    input: TokenRate
    cache_read: TokenRate
    cache_write: TokenRate
    output: TokenRate
    reasoning: TokenRate
    version: str
    """What an event keeps: the list, its version, and the day its price began where it is known."""

    @property
    def rates(self) -> tuple[TokenRate, TokenRate, TokenRate, TokenRate, TokenRate]:
        """In the order of Usage.parts."""
        return (self.input, self.cache_read, self.cache_write, self.output, self.reasoning)

    @property
    def is_free(self) -> bool:
        return all(rate.base == 0 and not any(step for _, step in rate.steps) for rate in self.rates)


def cost_usd_nanos(usage: Usage, price: ModelPrice) -> int:
    """What the usage costs, rounded up to a whole nano once, so that priced tokens never cost nothing."""
    prompt_tokens = usage.prompt_tokens
    total = 0
    for tokens, rate in zip(usage.parts, price.rates, strict=True):
        if tokens:
            total += tokens * rate.at(prompt_tokens)
    return _rounded_up(total)


def bound_usd_nanos(prompt_tokens: int, completion_tokens: int, price: ModelPrice) -> int:
    """The most that any usage of at most so many tokens can cost, however its tokens fall to the parts."""
    prompt = _dearest((price.input, price.cache_read, price.cache_write), prompt_tokens)
    completion = _dearest((price.output, price.reasoning), prompt_tokens)
    return _rounded_up(prompt_tokens * prompt + completion_tokens * completion)


def _dearest(rates: Sequence[TokenRate], prompt_tokens: int) -> int:
    return max(rate.most(prompt_tokens) for rate in rates)


def _rounded_up(nanos_times_tokens: int) -> int:
    return -(-nanos_times_tokens // TOKENS_PER_RATE)
