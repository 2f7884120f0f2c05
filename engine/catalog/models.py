"""A model as the catalog knows it: what it costs, what it can do, and who says so."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog.price import Price

TIERS = ("offline", "budget", "mid", "premium")
TIER_QUALITY = {"offline": 0.05, "budget": 0.5, "mid": 0.65, "premium": 0.8}
"""What a model's quality is taken to be where nobody states one."""


@dataclass(frozen=True)
class Model:
    """One model at one upstream. `id` is `provider/name` and unique in the catalog."""

    provider: str
    name: str
    """As the upstream calls it."""
    price: Price
    price_source: str
    context_window: int | None = None
    max_output: int | None = None
    tier: str | None = None
    quality: float | None = None
    capabilities: frozenset[str] | None = None
    """None where nobody states them: such a model is called by name, never chosen."""
    description: str = ""
    test: bool = False
    """Money of source `test` buys here."""

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"

    def answers_to(self, wanted: str) -> bool:
        """By its id or its upstream's name: `openai/gpt-4o` also names OpenRouter's model of that name."""
        return wanted in (self.id, self.name)
