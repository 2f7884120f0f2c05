"""A search as a caller asks it (pure): filters parsed and named where they are wrong, pages by cursor."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from bazaar.ranking import SORTS, Key, Sort, ranked, relevance, words
from bazaar.tables import Listing
from ledger.errors import InvalidInput
from ledger.money import usd_nanos

MAX_LIMIT = 100
NEWCOMER_SCORE = 0.5
"""What a provider without any record of payments scores."""
_FILTERS = frozenset(
    {
        "capability",
        "q",
        "max_price",
        "min_score",
        "network",
        "health",
        "verified",
        "max_latency_ms",
        "sort",
        "limit",
        "cursor",
    }
)
_HEALTHS = ("healthy", "degraded", "down", "unknown")


@dataclass(frozen=True)
class Search:
    """What is asked of the catalog; None filters nothing."""

    capability: str | None = None
    asked: frozenset[str] = frozenset()
    max_price_usd_nanos: int | None = None
    min_score: float = 0.0
    network: str | None = None
    health: str | None = None
    verified: bool | None = None
    max_latency_ms: int | None = None
    sort: Sort = "relevance"
    limit: int = 20
    after: Key | None = None

    @classmethod
    def parse(cls, filters: Mapping[str, Any]) -> Search:
        """From a query's strings (or the JSON values of a body). Raises InvalidInput naming the filter."""
        for name in filters.keys() - _FILTERS:
            raise InvalidInput(str(name), "is not a filter of this search")
        given = {name: value for name, value in filters.items() if value not in (None, "")}
        sort = _one_of(given, "sort", SORTS) or "relevance"
        limit = _integer(given, "limit", 1)
        return cls(
            capability=_text(given, "capability", 64),
            asked=words(_text(given, "q", 400) or ""),
            max_price_usd_nanos=usd_nanos(given["max_price"], "max_price") if "max_price" in given else None,
            min_score=_fraction(given, "min_score"),
            network=_text(given, "network", 64),
            health=_one_of(given, "health", _HEALTHS),
            verified=_truth(given, "verified"),
            max_latency_ms=_integer(given, "max_latency_ms", 0),
            sort=cast(Sort, sort),
            limit=min(limit, MAX_LIMIT) if limit else 20,
            after=_after(given.get("cursor"), sort),
        )

    def accepts(self, listing: Listing) -> bool:
        if self.capability is not None and self.capability.lower() not in listing.capabilities:
            return False
        if self.asked and not relevance(listing, self.asked):
            return False
        if self.max_price_usd_nanos is not None and listing.price_per_call_usd_nanos > self.max_price_usd_nanos:
            return False
        if self.network is not None and listing.network != self.network:
            return False
        if self.health is not None and listing.health != self.health:
            return False
        if self.max_latency_ms is not None and (
            listing.avg_latency_ms is None or listing.avg_latency_ms > self.max_latency_ms
        ):
            return False
        # No listing has proved its owner yet, and no provider has a record.
        return self.verified is not True and self.min_score <= NEWCOMER_SCORE


def page(listings: Sequence[Listing], search: Search) -> tuple[list[Listing], str | None]:
    """One page of what the search accepts, in its order, and the cursor of the next."""
    accepted = [listing for listing in listings if search.accepts(listing)]
    in_order = ranked(accepted, search.sort, search.asked)
    if search.after is not None:
        in_order = [pair for pair in in_order if pair[0] > search.after]
    shown = in_order[: search.limit]
    cursor = _cursor(search.sort, shown[-1][0]) if len(in_order) > len(shown) else None
    return [listing for _, listing in shown], cursor


def _cursor(sort: str, key: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort, *key])).decode().rstrip("=")


def _after(cursor: Any, sort: str) -> Key | None:
    if cursor is None:
        return None
    try:
        text = str(cursor)
        named, *key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):
        raise InvalidInput("cursor", "is not one of ours; start again without it") from None
    forms = {"relevance": [int, int, int, str, str]}.get(sort, [int, str, str])
    if named != sort or [type(part) for part in key] != forms:
        raise InvalidInput("cursor", "belongs to another search; start again without it")
    return tuple(key)


def _text(given: Mapping[str, Any], name: str, longest: int) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidInput(name, f"must be a text of at most {longest} characters")
    return value.strip()


def _one_of(given: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str | None:
    value = given.get(name)
    if value is not None and value not in allowed:
        raise InvalidInput(name, f"must be one of {', '.join(allowed)}")
    return value


def _integer(given: Mapping[str, Any], name: str, least: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
        raise InvalidInput(name, f"must be a whole number from {least}")
    return int(text)


def _fraction(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name, 0.0)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0.0 <= number <= 1.0:
        raise InvalidInput(name, "must be a number from 0 to 1")
    return number


def _truth(given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise InvalidInput(name, "must be true or false")
    return bool(value == "true")
