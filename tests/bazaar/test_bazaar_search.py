"""Filters and order, which are pure."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bazaar.ranking import SORTS
from bazaar.search import Search, page
from bazaar.tables import Listing


def listing(number: int, **change: Any) -> Listing:
    fields: dict[str, Any] = {
        "id": f"baz_{number:04d}",
        "tenant_id": "t",
        "type": "agent",
        "name": "Extractor",
        "description": "",
        "endpoint": f"https://s{number}.example/",
        "price_per_call_usd_nanos": 10_000_000,
        "capabilities": ["extract"],
        "tags": [],
        "created_at_us": number,
        "updated_at_us": number,
        **change,
    }
    return Listing(**fields)


def found(listings: list[Listing], **filters: Any) -> list[str]:
    return [row.id for row in page(listings, Search.parse(filters))[0]]


def test_each_filter_leaves_out_what_does_not_meet_it() -> None:
    plain = listing(1)
    other = listing(
        2,
        capabilities=["translate"],
        price_per_call_usd_nanos=50_000_000,
        network="eip155:8453",
        health="healthy",
        avg_latency_ms=900,
    )
    both = [plain, other]
    assert found(both, capability="Extract") == [plain.id]
    assert found(both, max_price="0.01") == [plain.id]
    assert found(both, network="eip155:8453") == [other.id]
    assert found(both, health="healthy") == [other.id]
    assert found(both, max_latency_ms="1000") == [other.id]
    assert found(both, max_latency_ms="899") == []
    assert found(both, verified="true") == []
    assert found(both, min_score="0.6") == []
    assert len(found(both, min_score="0.5")) == 2


def test_a_nonsense_search_finds_nothing_and_a_name_counts_more_than_a_description() -> None:
    named = listing(2, name="Danish audio")
    told = listing(1, description="danish audio, danish audio, danish audio")
    assert found([named, told], q="danish audio") == [named.id, told.id]
    assert found([named, told], q="xyzzy") == []


def test_without_words_the_healthy_and_cheap_come_first() -> None:
    rows = [listing(1, health="down"), listing(2), listing(3, health="healthy"), listing(4, price_per_call_usd_nanos=1)]
    assert found(rows) == ["baz_0003", "baz_0004", "baz_0002", "baz_0001"]
    assert found(rows, sort="newest")[0] == "baz_0004"
    assert found(rows, sort="price_high")[-1] == "baz_0004"


ROWS = st.lists(
    st.builds(
        lambda name, price, health, at: {
            "name": name,
            "price_per_call_usd_nanos": price,
            "health": health,
            "created_at_us": at,
        },
        st.sampled_from(["a", "B", "b", "ä", ""]),
        st.integers(0, 3),
        st.sampled_from(["healthy", "unknown", "degraded", "down"]),
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(ROWS, st.sampled_from(SORTS), st.integers(1, 5), st.randoms())
def test_the_order_is_total_and_the_order_of_input_does_not_matter(
    rows: list[dict[str, Any]], sort: str, limit: int, random: Any
) -> None:
    listings = [listing(number, **row) for number, row in enumerate(rows)]
    shuffled = list(listings)
    random.shuffle(shuffled)
    whole = found(shuffled, sort=sort, limit=100)
    assert whole == found(listings, sort=sort, limit=100)
    paged: list[str] = []
    cursor: str | None = None
    while True:
        part, cursor = page(listings, Search.parse({"sort": sort, "limit": limit, "cursor": cursor}))
        paged += [row.id for row in part]
        if cursor is None:
            break
    assert paged == whole
