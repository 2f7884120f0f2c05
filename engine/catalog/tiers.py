"""Tiers by price, and what is assumed of a model's speed until it was measured. Pure."""

from __future__ import annotations

from engine.catalog.price import ModelPrice
from ledger.money import NANOS_PER_USD

_PROMPT_SHARE = 3
_MID_FROM, _PREMIUM_FROM = 1 * NANOS_PER_USD, 3 * NANOS_PER_USD

SPEED: dict[str, tuple[int, int]] = {
    "offline": (5, 20_000),
    "budget": (500, 100),
    "mid": (700, 70),
    "premium": (1_000, 50),
}
"""(milliseconds to the first token, tokens a second) by tier. Assumptions, not measurements: round figures in the
order of magnitude that status pages show, so that a node which has measured nothing yet prefers small models when it
is asked for speed. The first measured calls replace them."""


def tier_of(price: ModelPrice) -> str:
    """By the dollars for a million tokens, three of four in the prompt: below 1 budget, below 3 mid, else premium."""
    blended = (_PROMPT_SHARE * price.input.base + price.output.base) // (_PROMPT_SHARE + 1)
    if blended < _MID_FROM:
        return "budget"
    return "mid" if blended < _PREMIUM_FROM else "premium"
