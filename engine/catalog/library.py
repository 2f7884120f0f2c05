"""The models of one upstream as price list, facts and quality table together have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from engine.catalog.facts import Facts
from engine.catalog.model import Model
from engine.catalog.names import base_name, plain
from engine.catalog.price import ModelPrice, TokenRate
from engine.catalog.price_lists import PriceLists
from engine.catalog.quality import Quality
from engine.catalog.tiers import SPEED, tier_of
from engine.upstream import Upstream
from ledger.clock import SECOND_US

_COUNTED = frozenset({"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok"})
_NEVER_BILLED = frozenset(
    {
        *("web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok", "output_audio_mtok"),
        *("input_audio_mtok", "cache_audio_read_mtok", "input_video_mtok"),
    }
)
"""Of tools, media and cache lifetimes that no request from here can ask for."""
_NOT_SERVED = re.compile(r"-search\b|deep-research|\bsonar\b|:online$|:batch$")
"""Models that search by themselves (each search is billed, and no bound in tokens covers it), and batch prices."""
_FREE = ":free"


class Library:
    """One upstream's list. A model is made once for each of its prices, so that what did not change is the same."""

    def __init__(
        self, upstream: Upstream, lists: PriceLists, facts: Callable[[], dict[str, Facts]], quality: Quality
    ) -> None:
        self._upstream, self._lists, self._facts, self._quality = upstream, lists, facts, quality
        self._entries: dict[str, Any] | None = None
        self._called: dict[str, str] = {}
        self._made: dict[str, tuple[Any, str, Model]] = {}

    def names(self) -> list[str]:
        """As the upstream calls its models."""
        called = {entry: name for name, entry in self._called.items()} if self._loaded() else {}
        return [called.get(name, name) for name in self._loaded()]

    def model(self, name: str, now_us: int) -> Model | None:
        """The model of this name or of a dated snapshot of it; None where it is not priced in tokens alone."""
        entries = self._loaded()
        listed = self._called.get(name, name)
        entry = entries.get(listed) or entries.get(base_name(listed))
        if entry is None or _NOT_SERVED.search(name) or (entry.id != listed and not entry.is_match(name)):
            return None
        at = datetime.fromtimestamp(now_us / SECOND_US, UTC)
        prices, day = entry.get_prices(at), f"{at:%Y-%m-%d}"
        known = self._made.get(name)
        if known is not None and known[0] is prices and known[1] == day:
            return known[2]
        made = self._make(name, entry, prices, day)
        if made is not None and entry.id == listed:
            self._made[name] = (prices, day, made)
        return made

    def _loaded(self) -> dict[str, Any]:
        if self._entries is None:
            assert self._upstream.price_list is not None
            entries = self._lists.entries(self._upstream.price_list)
            begins = self._upstream.priced_prefixes
            self._entries = {name: entry for name, entry in entries.items() if name.startswith(begins)}
            for name in self._entries:
                facts = self._facts().get(f"{self._upstream.name}/{name}")
                if facts is not None and facts.called is not None:
                    self._called[facts.called] = name
        return self._entries

    def _make(self, name: str, entry: Any, prices: Any, day: str) -> Model | None:
        upstream = self._upstream
        begins = _begins(entry, prices)
        price = _price(prices, self._lists.source if begins is None else f"{self._lists.source}@{begins}")
        source = self._lists.source
        if price is None:
            if upstream.name != "openrouter" or not entry.id.endswith(_FREE) or _stated(prices):
                return None
            price, source = _free(f"{source}:free"), f"openrouter.ai calls it free ({source})"
        facts = self._facts().get(f"{upstream.name}/{entry.id}")
        if facts is not None and facts.last_day is not None and facts.last_day <= day:
            facts = None
        tier = tier_of(price)
        quality = self._quality.of(entry.id, tier)
        first_token_ms, tokens_per_s = SPEED[tier]
        return Model(
            provider=upstream.name,
            name=name,
            price=price,
            price_source=source,
            price_date=begins or self._lists.date,
            context_window=entry.context_window or (facts.context_window if facts else None),
            max_output=facts.max_output if facts else None,
            tier=tier,
            quality=quality.value,
            quality_source=quality.source,
            # A free model has a rate limit that a busy node soon meets: it serves who asks for it.
            capabilities=facts.capabilities if facts and not price.is_free else None,
            seed_first_token_ms=upstream.first_token_ms or first_token_ms,
            seed_tokens_per_s=upstream.tokens_per_s or tokens_per_s,
            unsupported=upstream.unsupported,
            aliases=_aliases(upstream, name, entry.id),
            description=(entry.description or "").strip(),
            test=upstream.test,
        )


def _aliases(upstream: Upstream, name: str, listed: str) -> frozenset[str]:
    names = {name, listed, f"{upstream.name}/{name}", f"{upstream.name}/{listed}"}
    if upstream.maker_prefix:
        names |= {f"{upstream.maker_prefix}/{name}", f"{upstream.maker_prefix}/{listed}"}
    maker, slash, model = listed.partition("/")
    if slash and maker in upstream.bare_makers and not model.endswith(_FREE):
        names |= {model, base_name(model)}
    return frozenset(plain(name) for name in names)


def _begins(entry: Any, prices: Any) -> str | None:
    """The day since when these prices hold, where the list says it."""
    if not isinstance(entry.prices, list):
        return None
    days = [getattr(one.constraint, "start_date", None) for one in entry.prices if one.prices is prices]
    return next((f"{day:%Y-%m-%d}" for day in days if day is not None), None)


def _stated(listed: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(listed).items() if value is not None}


def _price(listed: Any, version: str) -> ModelPrice | None:
    stated = _stated(listed)
    if not stated.keys() >= {"input_mtok", "output_mtok"} or stated.keys() - _COUNTED - _NEVER_BILLED:
        return None  # priced by the image, the hour or the request: not to be bounded in tokens
    fresh, output = _rate(stated["input_mtok"]), _rate(stated["output_mtok"])
    price = ModelPrice(
        input=fresh,
        cache_read=_rate(stated["cache_read_mtok"]) if "cache_read_mtok" in stated else fresh,
        cache_write=_rate(stated["cache_write_mtok"]) if "cache_write_mtok" in stated else fresh,
        output=output,
        reasoning=_rate(stated["output_reasoning_mtok"]) if "output_reasoning_mtok" in stated else output,
        version=version,
    )
    return None if price.is_free else price  # zeros that nobody calls free are a gap in the list


def _free(version: str) -> ModelPrice:
    nothing = TokenRate(0)
    return ModelPrice(nothing, nothing, nothing, nothing, nothing, version)


def _rate(listed: Any) -> TokenRate:
    if isinstance(listed, Decimal):
        return TokenRate(_nanos(listed))
    return TokenRate(_nanos(listed.base), tuple((tier.start, _nanos(tier.price)) for tier in listed.tiers))


def _nanos(usd_per_mtok: Decimal) -> int:
    # Some lists carry a third of a cent with seventeen digits; the billionth of a dollar per million tokens is enough.
    return int(usd_per_mtok.scaleb(9).to_integral_value(ROUND_CEILING))
