"""What ranking asks of a model whatever the request: its names, its makers, its rates. Worked out once a model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.catalog import Model
from engine.catalog.models import TIERS

KEPT = 10_000
_SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True)
class Traits:
    model: Model
    id: str
    upstream: str
    """Who is asked and paid."""
    vendors: frozenset[str]
    """The upstream, and who made the model where its name says it (`openrouter`, `openai`)."""
    names: frozenset[str]
    """All that a list can mean it by: with and without upstream, maker, `:variant` and date of the snapshot."""
    tier_rank: int | None
    input_nanos_per_mtok: int
    output_nanos_per_mtok: int
    stepped: bool
    """Its rates depend on the size of the prompt."""


def traits_of(model: Model) -> Traits:
    name = model.name.lower()
    maker, _, rest = name.rpartition("/")
    plain = {name, rest or name}
    plain |= {each.partition(":")[0] for each in plain}
    plain |= {_SNAPSHOT.sub("", each) for each in plain}
    upstream = model.provider.lower()
    return Traits(
        model=model,
        id=model.id,
        upstream=upstream,
        vendors=frozenset({upstream, maker.rpartition("/")[2]} - {""}),
        names=frozenset(plain | {f"{upstream}/{each}" for each in plain}),
        tier_rank=None if model.tier is None else TIERS.index(model.tier),
        input_nanos_per_mtok=model.price.input.base,
        output_nanos_per_mtok=model.price.output.base,
        stepped=bool(model.price.input.steps or model.price.output.steps),
    )


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
