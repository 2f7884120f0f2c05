"""How good a model is, from 0 to 1: a published figure with its source, else its tier's median, and it says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.catalog.names import model_of

_TABLE = Path(__file__).with_name("quality.json")

TIER_QUALITY = {"offline": 0.05, "budget": 0.57, "mid": 0.83, "premium": 0.83}
"""The medians of the table's models by tier, none below a cheaper tier's (a test recomputes them); the offline
provider's is set by hand."""


@dataclass(frozen=True)
class Figure:
    value: float
    source: str


class Quality:
    """The table `quality.json`, read when first asked. A model has one figure, whoever serves it."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] | None = None

    def of(self, name: str, tier: str) -> Figure:
        """Of a model by any upstream's name for it."""
        if self._figures is None:
            self._figures = read_figures()
        return self._figures.get(model_of(name)) or median_of(tier)


def median_of(tier: str) -> Figure:
    return Figure(TIER_QUALITY[tier], f"median of the tier {tier}")


def read_figures() -> dict[str, Figure]:
    """By the model's plain name."""
    table = json.loads(_TABLE.read_text())
    sources = table["sources"]
    return {
        model: Figure(percent / 100, f"{table['measure']}: {sources[source]['url']}, {date}")
        for model, (percent, source, date) in table["models"].items()
    }
