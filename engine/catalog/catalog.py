"""The catalog: every model that can be called here, priced. What it does not price is refused, never free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from engine.catalog.facts import read_facts
from engine.catalog.library import Library
from engine.catalog.model import Model
from engine.catalog.names import base_name, plain
from engine.catalog.price import ModelPrice, TokenRate
from engine.catalog.price_lists import PriceLists
from engine.catalog.quality import Quality, median_of
from engine.catalog.tiers import SPEED, tier_of
from engine.upstream import Upstream, UpstreamModel
from ledger.clock import SECOND_US

OFFLINE = Model(
    provider="offline",
    name="extract",
    price=ModelPrice(
        input=TokenRate(100_000_000),
        cache_read=TokenRate(100_000_000),
        cache_write=TokenRate(100_000_000),
        output=TokenRate(400_000_000),
        reasoning=TokenRate(400_000_000),
        version="offline/1",
    ),
    price_source="set by this software, so that budgets run out offline too",
    context_window=1_000_000,
    max_output=4_096,
    tier="offline",
    quality=median_of("offline").value,
    quality_source="set by this software: it is no language model",
    capabilities=frozenset({"chat"}),
    seed_first_token_ms=SPEED["offline"][0],
    seed_tokens_per_s=SPEED["offline"][1],
    description="No language model: answers with the most central sentences of the text it is given.",
    test=True,
)
_MOST_NAMES = 10_000
_LONGEST_NAME = 200


class Catalog:
    """Models by provider: the operator's own prices over the lists', and the offline one.

    Prices change by the day or the hour. What was made for a minute serves for its rest, and a model whose price did
    not change stays the same object.
    """

    def __init__(self, stated: Iterable[Model], libraries: dict[str, Library]) -> None:
        self._stated: dict[str, dict[str, Model]] = {}
        for model in stated:
            self._stated.setdefault(model.provider, {})[model.name] = model
        self._libraries = libraries
        self._minute = -1
        self._by_provider: dict[str, list[Model]] = {}
        self._by_alias: dict[str, list[Model]] = {}
        self._by_name: dict[str, list[Model]] = {}

    @classmethod
    def load(cls, upstreams: Sequence[Upstream] = (), prices_file: Path | None = None) -> Catalog:
        """The catalog of these upstreams and the offline provider. Reads no list before it is asked.

        `prices_file` is a `data.json` of genai-prices that takes the place of the library's lists.
        """
        stated = [_stated(upstream, model) for upstream in upstreams for model in upstream.models]
        lists, facts, quality = PriceLists(prices_file), cache(read_facts), Quality()
        libraries = {
            upstream.name: Library(upstream, lists, facts, quality)
            for upstream in upstreams
            if upstream.price_list is not None
        }
        return cls([OFFLINE, *stated], libraries)

    def models(self, provider: str, now_us: int) -> list[Model]:
        """All priced models of a provider, ordered by name. The same list until a minute is over: not to be changed."""
        self._begin_minute(now_us)
        known = self._by_provider.get(provider)
        if known is None:
            found: dict[str, Model] = {}
            library = self._libraries.get(provider)
            for name in library.names() if library is not None else ():
                model = library.model(name, now_us) if library is not None else None
                if model is not None:
                    found[name] = model
            for name, model in self._stated.get(provider, {}).items():
                found[name] = _over(found.get(name), model)
            known = self._by_provider[provider] = [found[name] for name in sorted(found)]
        return known

    def named(self, wanted: str, now_us: int) -> list[Model]:
        """The models that a caller can mean by a name, over all providers, in the order of their ids."""
        self._begin_minute(now_us)
        known = self._by_name.get(wanted)
        if known is None and len(wanted) > _LONGEST_NAME:
            return []
        if known is None:
            found = {model.id: model for model in self._meant(wanted, now_us)}
            known = [found[key] for key in sorted(found)]
            if known and len(self._by_name) < _MOST_NAMES:  # a stranger may ask for any name: only models are kept
                self._by_name[wanted] = known
        return known

    def _meant(self, wanted: str, now_us: int) -> Iterable[Model]:
        if not self._by_alias:
            for provider in {*self._stated, *self._libraries}:
                for model in self.models(provider, now_us):
                    for alias in {*model.aliases, plain(model.id), plain(model.name)}:
                        self._by_alias.setdefault(alias, []).append(model)
        yield from self._by_alias.get(plain(wanted), ())
        if base_name(wanted) == wanted:
            return
        for provider, library in self._libraries.items():
            name = wanted.removeprefix(f"{provider}/")
            snapshot = library.model(name, now_us)
            if snapshot is not None and name not in self._stated.get(provider, {}):
                yield snapshot

    def _begin_minute(self, now_us: int) -> None:
        minute = now_us // (60 * SECOND_US)
        if minute != self._minute:
            self._minute = minute
            self._by_provider, self._by_alias, self._by_name = {}, {}, {}


def _over(listed: Model | None, stated: Model) -> Model:
    """The operator's word goes over the lists'; where the operator is silent, the lists' stands."""
    if listed is None:
        return stated
    return replace(
        stated,
        context_window=stated.context_window or listed.context_window,
        max_output=stated.max_output or listed.max_output,
        aliases=stated.aliases | listed.aliases,
        description=listed.description,
    )


def _stated(upstream: Upstream, model: UpstreamModel) -> Model:
    fresh, output = TokenRate(model.input_nanos_per_mtok), TokenRate(model.output_nanos_per_mtok)
    cache_read, cache_write = model.cache_read_nanos_per_mtok, model.cache_write_nanos_per_mtok
    rates = (fresh.base, output.base, cache_read, cache_write)
    price = ModelPrice(
        input=fresh,
        cache_read=fresh if cache_read is None else TokenRate(cache_read),
        cache_write=fresh if cache_write is None else TokenRate(cache_write),
        output=output,
        reasoning=output,
        version="settings/" + ":".join("-" if rate is None else str(rate) for rate in rates),
    )
    tier = tier_of(price) if model.tier is None else model.tier
    first_token_ms, tokens_per_s = SPEED[tier]
    return Model(
        provider=upstream.name,
        name=model.id,
        price=price,
        price_source="the operator's settings",
        context_window=model.context,
        max_output=model.max_output,
        tier=tier,
        quality=median_of(tier).value if model.quality is None else model.quality,
        quality_source=median_of(tier).source if model.quality is None else "the operator's settings",
        capabilities=frozenset(model.capabilities),
        seed_first_token_ms=upstream.first_token_ms or first_token_ms,
        seed_tokens_per_s=upstream.tokens_per_s or tokens_per_s,
        unsupported=upstream.unsupported,
        test=upstream.test,
    )
