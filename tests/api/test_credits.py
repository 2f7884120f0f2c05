"""Credits over HTTP: bought once, shown exactly, and only where test money exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_node import ApiNode, running

from agentnode.settings import load


@pytest.mark.database
async def test_five_dollars_buy_exactly_five_hundred_credits_once(node: ApiNode) -> None:
    """The same request under its key is told of the first; the history sums to the balance."""
    acme = await node.tenant("acme", billing="prepaid")
    body, header = {"amount_usd": 5, "mode": "test"}, {"Idempotency-Key": "k"}
    first = await acme.ask("POST", "/credits/purchase", body, **header)
    assert (first["balance"], first["purchased"], first["payment"]["amount_usd_exact"]) == (500, 500, "5")
    assert await acme.ask("POST", "/credits/purchase", body, **header) == first
    await acme.ask("POST", "/credits/purchase", {"amount_usd": "0.0003", "mode": "test"})
    balance = await acme.ask("GET", "/credits/balance")
    assert (balance["balance"], balance["balance_exact"], balance["balance_usd_exact"]) == (500.03, "500.03", "5.0003")
    history = (await acme.ask("GET", "/credits/history"))["data"]
    assert [(each["kind"], each["credits_exact"], each["balance_exact"]) for each in history] == [
        ("purchase", "0.03", "500.03"),
        ("purchase", "500", "500"),
    ]
    assert set(history[0]) >= {"id", "at", "kind", "credits", "balance", "request_id"}


async def test_a_discount_is_an_entry_of_its_own(node: ApiNode) -> None:
    """95 USD buy 10,000 credits; the pages of the history join without a gap."""
    acme = await node.tenant("acme")
    bought = await acme.ask("POST", "/credits/purchase", {"amount_usd": 95, "mode": "test"})
    assert (bought["purchased"], bought["balance"], bought["payment"]["amount_usd"]) == (10_000, 10_000, 95)
    first = await acme.ask("GET", "/credits/history?limit=1")
    second = await acme.ask("GET", f"/credits/history?limit=1&cursor={first['next_cursor']}")
    entries = first["data"] + second["data"]
    assert {(each["kind"], each["credits"]) for each in entries} == {("purchase", 9_500), ("discount", 500)}
    assert second["next_cursor"] is None and second["data"][0]["balance"] == second["data"][0]["credits"]


async def test_what_is_not_sold_here_is_refused_by_name(node: ApiNode) -> None:
    """Paid credits, unknown modes, nothing, and cursors that no page gave."""
    acme = await node.tenant("acme")
    for body, code in (
        ({"amount_usd": 1, "mode": "paid"}, "NOT_OFFERED"),
        ({"amount_usd": 1, "mode": "free"}, "INVALID_INPUT"),
        ({"amount_usd": 0, "mode": "test"}, "INVALID_INPUT"),
        ({"mode": "test"}, "INVALID_INPUT"),
        ({"amount_usd": 4_000_000_000, "mode": "test"}, "INVALID_INPUT"),
    ):
        assert await acme.ask("POST", "/credits/purchase", body, 400) == code
    assert await acme.ask("GET", "/credits/history?cursor=x", expect=400) == "INVALID_INPUT"


async def test_test_money_exists_on_the_embedded_chains_network_only(database_url: str, tmp_path: Path) -> None:
    """On Base neither sessions nor credits are had for nothing."""
    settings = load({}, data=tmp_path, chain="none", database_url=database_url, network="eip155:8453")
    async with running(settings) as node:
        acme = await node.tenant("acme")
        assert await acme.ask("POST", "/credits/purchase", {"amount_usd": 1, "mode": "test"}, 400) == "NOT_OFFERED"
        session_id = (await acme.ask("POST", "/sessions", {"budget_usd": 1}, 201))["id"]
        funding = {"session_id": session_id, "amount": 1, "source": "test"}
        assert await acme.ask("POST", "/sessions/fund", funding, 400) == "NOT_OFFERED"
