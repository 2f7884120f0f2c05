"""The catalog: every model that can be called here, priced. What it does not price is refused, never free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.catalog.library import PriceLibrary
from engine.catalog.models import TIER_QUALITY, Model
from engine.catalog.price import Price, Rate
from engine.upstream import Upstream, UpstreamModel

OFFLINE = Model(
    provider="offline",
    name="extract",
    price=Price(
        input=Rate(100_000_000),
        cache_read=Rate(100_000_000),
        cache_write=Rate(100_000_000),
        output=Rate(400_000_000),
        reasoning=Rate(400_000_000),
        version="offline/1",
    ),
    price_source="set by this software, so that budgets run out offline too",
    context_window=1_000_000,
    max_output=4_096,
    tier="offline",
    quality=TIER_QUALITY["offline"],
    capabilities=frozenset({"chat"}),
    description="No language model: answers with the most central sentences of the text it is given.",
    test=True,
)


class Catalog:
    """Models by provider: the operator's own prices over the library's, and the offline one."""

    def __init__(self, stated: Iterable[Model], libraries: dict[str, PriceLibrary]) -> None:
        self._stated = {model.id: model for model in stated}
        self._libraries = libraries

    @classmethod
    def load(cls, upstreams: Sequence[Upstream] = ()) -> Catalog:
        """The catalog of these upstreams and the offline provider. Reads no price library before it is asked."""
        stated = [_stated(upstream, model) for upstream in upstreams for model in upstream.models]
        libraries = {
            upstream.name: PriceLibrary(upstream.price_list, upstream.name, upstream.test)
            for upstream in upstreams
            if upstream.price_list is not None
        }
        return cls([OFFLINE, *stated], libraries)

    def models(self, provider: str, now_us: int) -> list[Model]:
        """All priced models of a provider, ordered by name."""
        found = {model.name: model for model in self._library_models(provider, now_us)}
        found |= {model.name: model for model in self._stated.values() if model.provider == provider}
        return [found[name] for name in sorted(found)]

    def named(self, wanted: str, now_us: int) -> list[Model]:
        """The models that a caller can mean by a name, over all providers, in the order of their ids."""
        found = {model.id: model for model in self._stated.values() if model.answers_to(wanted)}
        for provider, library in self._libraries.items():
            for name in {wanted, wanted.removeprefix(f"{provider}/")}:
                model = library.model(name, now_us)
                if model is not None:
                    found.setdefault(model.id, model)
        return [found[key] for key in sorted(found)]

    def _library_models(self, provider: str, now_us: int) -> Iterable[Model]:
        library = self._libraries.get(provider)
        return library.models(now_us) if library is not None else ()


def _stated(upstream: Upstream, model: UpstreamModel) -> Model:
    fresh, output = Rate(model.input_nanos_per_mtok), Rate(model.output_nanos_per_mtok)
    cache_read, cache_write = model.cache_read_nanos_per_mtok, model.cache_write_nanos_per_mtok
    rates = (fresh.base, output.base, cache_read, cache_write)
    return Model(
        provider=upstream.name,
        name=model.id,
        price=Price(
            input=fresh,
            cache_read=fresh if cache_read is None else Rate(cache_read),
            cache_write=fresh if cache_write is None else Rate(cache_write),
            output=output,
            reasoning=output,
            version="settings/" + ":".join("-" if rate is None else str(rate) for rate in rates),
        ),
        price_source="the operator's settings",
        context_window=model.context,
        max_output=model.max_output,
        tier=model.tier,
        quality=TIER_QUALITY[model.tier] if model.quality is None else model.quality,
        capabilities=frozenset(model.capabilities),
        test=upstream.test,
    )
