"""Which listings answer a search, and in which order (pure): the same inputs give the same order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from bazaar.tables import Listing

Sort = Literal["relevance", "newest", "price_low", "price_high"]
SORTS: tuple[str, ...] = get_args(Sort)
Key = tuple[int | str, ...]

_HEALTH_ORDER = {"healthy": 0, "unknown": 1, "degraded": 2, "down": 3}
_WORD = re.compile(r"\w+")


def words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def relevance(listing: Listing, asked: frozenset[str]) -> int:
    """How many of the words asked for the listing has, weighed by where: name 4, labels 2, description 1."""
    labels = words(" ".join([*listing.capabilities, *listing.tags, listing.skill]))
    return 4 * len(asked & words(listing.name)) + 2 * len(asked & labels) + len(asked & words(listing.description))


def order_key(listing: Listing, sort: Sort, asked: frozenset[str]) -> Key:
    """Ascending; ties end by name and then by id, so that the order is total."""
    tie = (listing.name.casefold(), listing.id)
    price = listing.price_per_call_usd_nanos
    match sort:
        case "newest":
            return (-listing.created_at_us, *tie)
        case "price_low":
            return (price, *tie)
        case "price_high":
            return (-price, *tie)
        case "relevance":
            return (-relevance(listing, asked), _HEALTH_ORDER[listing.health], price, *tie)


def ranked(listings: Sequence[Listing], sort: Sort, asked: frozenset[str]) -> list[tuple[Key, Listing]]:
    return sorted(((order_key(listing, sort, asked), listing) for listing in listings), key=lambda pair: pair[0])
