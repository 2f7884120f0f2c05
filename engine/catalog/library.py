"""Prices from the genai-prices library, turned into the catalog's integers. Loaded when first asked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from engine.catalog.facts import FACTS, Facts
from engine.catalog.models import TIER_QUALITY, Model
from engine.catalog.price import Price, Rate
from ledger.clock import SECOND_US

_COUNTED = frozenset({"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok"})
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_NEVER_BILLED = frozenset({"web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok"})
"""Of tools and cache lifetimes that no request from here can ask for (search models are left out by name)."""


class PriceLibrary:
    """The models of one provider in the library, at the prices of a moment."""

    def __init__(self, price_list: str, upstream: str, test: bool = False) -> None:
        self._price_list = price_list
        self._upstream = upstream
        self._test = test
        self._entries: dict[str, Any] | None = None
        self._listed: tuple[int, list[Model]] = (-1, [])

    def models(self, now_us: int) -> list[Model]:
        """All that are priced in tokens. Prices change by the day or the hour: a list serves for its minute."""
        minute = now_us // (60 * SECOND_US)
        if self._listed[0] != minute:
            found = (self.model(name, now_us) for name in self._load())
            self._listed = (minute, [model for model in found if model is not None])
        return self._listed[1]

    def model(self, name: str, now_us: int) -> Model | None:
        """The model of this name or of a dated snapshot of it; None where it is not priced in tokens alone."""
        entries = self._load()
        entry = entries.get(name) or entries.get(_DATED.sub("", name))
        if entry is None or "-search-" in name or not entry.is_match(name):
            return None
        price = _price(entry.get_prices(datetime.fromtimestamp(now_us / SECOND_US, UTC)), self._version())
        if price is None:
            return None
        facts: Facts | None = FACTS.get(self._upstream, {}).get(entry.id)
        return Model(
            provider=self._upstream,
            name=name,
            price=price,
            price_source=self._version(),
            context_window=entry.context_window,
            max_output=facts.max_output if facts else None,
            tier=facts.tier if facts else None,
            quality=TIER_QUALITY[facts.tier] if facts else None,
            capabilities=facts.capabilities if facts else None,
            description=entry.description or "",
            test=self._test,
        )

    def _load(self) -> dict[str, Any]:
        if self._entries is None:
            from genai_prices.data import providers

            found = [provider for provider in providers if provider.id == self._price_list]
            assert found, self._price_list
            self._entries = {model.id: model for model in found[0].models}
        return self._entries

    def _version(self) -> str:
        from importlib.metadata import version

        return f"genai-prices/{version('genai-prices')}"


def _price(listed: Any, version: str) -> Price | None:
    stated = {name: value for name, value in vars(listed).items() if value is not None}
    if not stated.keys() >= {"input_mtok", "output_mtok"} or stated.keys() - _COUNTED - _NEVER_BILLED:
        return None  # priced by the image, the hour or the request: not to be bounded in tokens
    fresh, output = _rate(stated["input_mtok"]), _rate(stated["output_mtok"])
    return Price(
        input=fresh,
        cache_read=_rate(stated["cache_read_mtok"]) if "cache_read_mtok" in stated else fresh,
        cache_write=_rate(stated["cache_write_mtok"]) if "cache_write_mtok" in stated else fresh,
        output=output,
        reasoning=_rate(stated["output_reasoning_mtok"]) if "output_reasoning_mtok" in stated else output,
        version=version,
    )


def _rate(listed: Any) -> Rate:
    if isinstance(listed, Decimal):
        return Rate(_nanos(listed))
    return Rate(_nanos(listed.base), tuple((tier.start, _nanos(tier.price)) for tier in listed.tiers))


def _nanos(usd_per_mtok: Decimal) -> int:
    # Some lists carry a third of a cent with seventeen digits; the billionth of a dollar per million tokens is enough.
    return int(usd_per_mtok.scaleb(9).to_integral_value(ROUND_CEILING))
