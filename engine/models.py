"""All models of all upstreams, those without a key too: what the lists of models and providers are made of."""

from __future__ import annotations

from collections.abc import Sequence

from engine.catalog import OFFLINE, Catalog, Model
from engine.errors import ModelUnknown
from engine.providers import Providers
from engine.upstream import Upstream
from ledger.clock import Clock

_OFFLINE = Upstream(OFFLINE.provider, "", title="Offline")


class Models:
    """A view of the catalog; it calls nobody."""

    def __init__(self, catalog: Catalog, providers: Providers, upstreams: Sequence[Upstream], clock: Clock) -> None:
        self._catalog, self._providers, self._clock = catalog, providers, clock
        self.upstreams = sorted([_OFFLINE, *upstreams], key=lambda upstream: upstream.name)

    def of(self, provider: str) -> list[Model]:
        return self._catalog.models(provider, self._clock.now_us())

    def all(self) -> list[Model]:
        """In the order of their ids, by provider."""
        return [model for upstream in self.upstreams for model in self.of(upstream.name)]

    def is_available(self, provider: str) -> bool:
        """Whether it can be called here: its key is set, or it needs none."""
        return self._providers.get(provider) is not None

    def one(self, wanted: str) -> Model:
        """By any name for it, one that can be called here first. Raises ModelUnknown."""
        found = self._catalog.named(wanted, self._clock.now_us())
        if not found:
            raise ModelUnknown(f"no price is known for the model {wanted[:200]}, so it is not called")
        return next((model for model in found if self.is_available(model.provider)), found[0])
