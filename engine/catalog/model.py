"""A model as the catalog knows it: what it costs, what it can do, and who says so."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog.names import plain
from engine.catalog.price import ModelPrice

TIERS = ("offline", "budget", "mid", "premium")


@dataclass(frozen=True)
class Model:
    """One model at one upstream. `id` is `provider/name` and unique in the catalog."""

    provider: str
    name: str
    """As the upstream calls it."""
    price: ModelPrice
    price_source: str
    """Who states the price; of a free one, who says that it is."""
    context_window: int | None = None
    max_output: int | None = None
    tier: str | None = None
    quality: float | None = None
    """0 to 1"""
    capabilities: frozenset[str] | None = None
    """None where nobody states them: such a model is called by name, never chosen."""
    seed_first_token_ms: int = 800
    """Assumed until it was measured."""
    seed_tokens_per_s: int = 50
    """Assumed until it was measured."""
    unsupported: frozenset[str] = frozenset()
    """Options that its upstream does not take."""
    aliases: frozenset[str] = frozenset()
    """Other names that mean it, in plain form."""
    quality_source: str | None = None
    price_date: str | None = None
    """`YYYY-MM-DD`: since when the price holds, else when the list was published."""
    description: str = ""
    test: bool = False
    """Money of source `test` buys here."""

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"

    @property
    def is_free(self) -> bool:
        return self.price.is_free

    def answers_to(self, wanted: str) -> bool:
        """By its id, its upstream's name, in capitals or not, or what else it is called: `openai/gpt-4o` also names
        OpenRouter's."""
        return wanted.lower() in (self.id.lower(), self.name.lower()) or plain(wanted) in self.aliases
