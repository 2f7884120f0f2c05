"""Publishing and finding, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bazaar import Bazaar, ListingRefused
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import AgentNodeError, InvalidInput, NotFound

PAYEE = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
CARD_URL = "https://seller.example/.well-known/agent-card.json"
CARD = {
    "name": "Seller",
    "description": "Sells.",
    "supportedInterfaces": [{"url": "https://seller.example/api/a2a", "protocolBinding": "JSONRPC"}],
    "skills": [{"id": "ask", "tags": ["llm"]}],
}


class Shelf:
    """A card reader whose cards are given."""

    def __init__(self, cards: dict[str, dict[str, Any]]) -> None:
        self._cards = cards

    async def read(self, url: str) -> dict[str, Any]:
        if url not in self._cards:
            raise AddressRefused("the address is not public")
        return self._cards[url]

    async def check(self, url: str) -> None:
        if "inside" in url:
            raise AddressRefused("the address is not public")
        if "nowhere" in url:
            raise FetchFailed("the name has no address")


class AddressRefused(AgentNodeError):
    code = "ADDRESS_REFUSED"
    status = 400


class FetchFailed(AgentNodeError):
    code = "FETCH_FAILED"
    status = 502


def priced(**change: Any) -> dict[str, Any]:
    return {"agent_card_url": CARD_URL, "price_per_call_usd": 0.01, "pay_to": PAYEE, **change}


@pytest.fixture
def bazaar(database: Database) -> Bazaar:
    return Bazaar(database, SystemClock(), Shelf({CARD_URL: CARD}))


@pytest.mark.database
async def test_a_published_listing_is_found_with_its_exact_price(bazaar: Bazaar) -> None:
    listing = await bazaar.publish("t1", priced())
    assert listing["id"].startswith("baz_")
    assert listing["endpoint"] == "https://seller.example/api/a2a"
    assert (listing["price_per_call_usd"], listing["price_per_call_usd_exact"]) == (0.01, "0.01")
    assert (listing["health"], listing["status"], listing["version"]) == ("unknown", "active", 1)
    assert await bazaar.get(listing["id"]) == listing
    assert (await bazaar.discover({"capability": "ask"}))["resources"] == [listing]
    assert (await bazaar.listings({}))["data"] == [listing]


@pytest.mark.database
async def test_the_same_place_of_the_same_tenant_is_updated_and_another_tenants_stands_beside_it(
    bazaar: Bazaar,
) -> None:
    first = await bazaar.publish("t1", priced())
    again = await bazaar.publish("t1", priced())
    dearer = await bazaar.publish("t1", priced(price_per_call_usd="0.02"))
    theirs = await bazaar.publish("t2", priced())
    assert (again["id"], again["version"]) == (first["id"], 1)
    assert (dearer["id"], dearer["version"], dearer["price_per_call_usd_exact"]) == (first["id"], 2, "0.02")
    assert theirs["id"] != first["id"]
    assert [listing["id"] for listing in (await bazaar.listings({}, tenant_id="t1"))["data"]] == [first["id"]]


@pytest.mark.database
async def test_one_place_published_many_times_at_once_is_one_listing(bazaar: Bazaar) -> None:
    published = await asyncio.gather(*(bazaar.publish("t1", priced()) for _ in range(8)))
    assert len({listing["id"] for listing in published}) == 1
    assert len((await bazaar.listings({}))["data"]) == 1


async def test_a_card_that_may_not_be_fetched_is_named_and_nothing_is_listed(bazaar: Bazaar) -> None:
    body = priced(agent_card_url="http://169.254.169.254/card.json")
    with pytest.raises(ListingRefused) as refused:
        await bazaar.publish("t1", body)
    assert refused.value.param == "agent_card_url"
    assert "ADDRESS_REFUSED" in refused.value.message
    verdict = await bazaar.validate(body)
    assert verdict["listable"] is False
    assert [check["rule"] for check in verdict["checks"] if not check["ok"]] == ["card_readable"]
    assert (await bazaar.listings({}))["data"] == []


async def test_an_endpoint_that_leads_inside_is_refused_and_one_that_leads_nowhere_is_listed_with_a_warning(
    bazaar: Bazaar,
) -> None:
    body = {"name": "N", "price_per_call_usd": 0}
    inside = await bazaar.validate({**body, "endpoint": "http://inside.example/"})
    nowhere = await bazaar.validate({**body, "endpoint": "http://nowhere.example/"})
    rule = "endpoint_leads_outside"
    assert inside["listable"] is False
    assert [(c["rule"], c["severity"]) for c in inside["checks"] if not c["ok"]] == [(rule, "error")]
    assert nowhere["listable"] is True
    assert [(c["rule"], c["severity"]) for c in nowhere["checks"] if not c["ok"]] == [(rule, "warning")]


async def test_validate_says_what_publish_would_and_lists_nothing(bazaar: Bazaar) -> None:
    assert (await bazaar.validate(priced()))["listable"] is True
    refused = await bazaar.validate(priced(pay_to=None))
    assert [(c["rule"], c["field"], c["seen"]) for c in refused["checks"] if not c["ok"]] == [
        ("payee_given_where_priced", "pay_to", "None")
    ]
    assert (await bazaar.listings({}))["data"] == []


@pytest.mark.database
async def test_pages_by_cursor_show_each_listing_once_in_one_order(bazaar: Bazaar) -> None:
    for number in range(7):
        await bazaar.publish(
            "t1",
            {"endpoint": f"https://s{number}.example/", "name": f"Shop {number % 3}", "price_per_call_usd": 0},
        )
    for sort in ("relevance", "newest", "price_low", "price_high"):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            answer = await bazaar.discover({"sort": sort, "limit": "3", "cursor": cursor})
            seen += [listing["id"] for listing in answer["resources"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 7


async def test_health_is_recorded_and_a_missing_listing_is_not_found(bazaar: Bazaar) -> None:
    listing = await bazaar.publish("t1", priced())
    await bazaar.record_health(listing["id"], "healthy", 100)
    await bazaar.record_health(listing["id"], "degraded", 200)
    now = await bazaar.get(listing["id"])
    assert (now["health"], now["avg_latency_ms"]) == ("degraded", 125)
    with pytest.raises(NotFound):
        await bazaar.get("baz_nothing")


@pytest.mark.parametrize(
    ("filters", "param"),
    [
        ({"max_price": "NaN"}, "max_price"),
        ({"limit": "0"}, "limit"),
        ({"limit": "-3"}, "limit"),
        ({"sort": "rating"}, "sort"),
        ({"health": "fine"}, "health"),
        ({"min_score": "2"}, "min_score"),
        ({"min_score": "nan"}, "min_score"),
        ({"verified": "maybe"}, "verified"),
        ({"cursor": "e30"}, "cursor"),
        ({"cursor": "WyJuZXdlc3QiLDEsImEiLCJiIl0"}, "cursor"),
        ({"max_latency_ms": "soon"}, "max_latency_ms"),
        ({"limit": "1".zfill(12) + "0" * 5_000}, "limit"),
        ({"cursor": "W1tb" * 30_000}, "cursor"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(bazaar: Bazaar, filters: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await bazaar.discover(filters)
    assert refused.value.param == param
