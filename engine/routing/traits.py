"""What ranking asks of a model whatever the request: its names, its makers, its rates. Worked out once a model."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalog import Model
from engine.catalog.model import TIERS
from engine.catalog.names import base_name, model_of, plain
from engine.catalog.quality import median_of

KEPT = 10_000
ASSUMED_LESS = 0.2
"""By how much a quality that is only the tier's median counts less: of those that are measured at all, the median is
better than of those that nobody measures."""
ALSO_CALLED = {
    "deepseek-ai": "deepseek",
    "meta-llama": "meta",
    "mistralai": "mistral",
    "moonshotai": "moonshot",
    "x-ai": "xai",
    "z-ai": "zai",
    "zai-org": "zai",
}
"""Makers, as other upstreams' names for their models have them: a list that keeps out `mistral` keeps them out."""


@dataclass(frozen=True, slots=True)
class Traits:
    model: Model
    id: str
    upstream: str
    """Who is asked and paid."""
    vendors: frozenset[str]
    """The upstream, and who made the model where its name says it (`openrouter`, `openai`). Lower case."""
    names: frozenset[str]
    """All that a list can mean it by, in plain form: with and without upstream, maker, `:variant` and date."""
    tier_rank: int | None
    quality: float
    """0 where nobody states or assumes one."""
    input_nanos_per_mtok: int
    output_nanos_per_mtok: int
    stepped: bool
    """Its rates depend on the size of the prompt."""


def traits_of(model: Model) -> Traits:
    upstream, maker = model.provider.lower(), _maker(model)
    return Traits(
        model=model,
        id=model.id,
        upstream=upstream,
        vendors=frozenset({upstream, maker, ALSO_CALLED.get(maker, maker)} - {""}),
        names=_names(model),
        tier_rank=None if model.tier is None else TIERS.index(model.tier),
        quality=_quality(model),
        input_nanos_per_mtok=model.price.input.base,
        output_nanos_per_mtok=model.price.output.base,
        stepped=bool(model.price.input.steps or model.price.output.steps),
    )


def _quality(model: Model) -> float:
    quality = model.quality or 0.0
    if model.tier is not None and model.tier != "offline" and model.quality_source == median_of(model.tier).source:
        return max(0.0, quality - ASSUMED_LESS)
    return quality


def _maker(model: Model) -> str:
    maker, slash, rest = model.name.lower().partition("/")
    return maker.removeprefix("~") if slash and "/" not in rest else ""


def _names(model: Model) -> frozenset[str]:
    names = {model.name, model.name.rpartition("/")[2]}
    names |= {name.partition(":")[0] for name in names}
    names |= {base_name(name) for name in names}
    names |= {f"{model.provider}/{name}" for name in names}
    return frozenset({plain(name) for name in names} | model.aliases | {model_of(model.name)})


class KnownTraits:
    """Remembers them by model id. A catalog that made the model anew has them worked out anew."""

    def __init__(self) -> None:
        self._known: dict[str, Traits] = {}

    def of(self, model: Model) -> Traits:
        found = self._known.get(model.id)
        if found is not None and found.model is model:
            return found
        if len(self._known) >= KEPT:
            self._known.clear()  # callers name models: what they name must not fill the memory
        found = self._known[model.id] = traits_of(model)
        return found
