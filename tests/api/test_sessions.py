"""Sessions over HTTP: a cap with an end, that money can be put into, in the shapes that clients know."""

from __future__ import annotations

import asyncio

import pytest
from api_node import ApiNode


async def test_a_session_has_the_shape_that_clients_know(node: ApiNode) -> None:
    """What the tutorial reads is there; exact amounts stand beside numbers."""
    acme = await node.tenant("acme")
    asked = {"budget_usd": 5.0, "agent_identifier": "researcher", "expires_in_hours": 2}
    made = await acme.ask("POST", "/sessions", asked, 201)
    assert made["object"] == "session" and made["id"].startswith("sess_")
    assert (made["tenant_id"], made["agent_identifier"], made["status"]) == ("acme", "researcher", "active")
    assert (made["budget_usd"], made["budget_usd_exact"]) == (5.0, "5")
    assert {name: made["budget"][name] for name in ("total_usd", "used_usd", "remaining_usd")} == {
        "total_usd": 5.0,
        "used_usd": 0.0,
        "remaining_usd": 5.0,
    }
    assert made["budget"]["utilization_percent"] == 0.0
    got = await acme.ask("GET", f"/sessions/{made['id']}")
    meta = got.pop("meta")
    assert got == made
    assert (meta["is_active"], meta["is_expired"]) == (True, False)
    assert 7190 <= meta["time_remaining_seconds"] <= 7200
    stats = await acme.ask("GET", f"/sessions/{made['id']}/stats")
    assert [stats[name] for name in ("budget_usd", "budget_spent_usd", "request_count", "cache_hits")] == [5, 0, 0, 0]
    assert (await acme.ask("GET", "/sessions?status=active"))["data"] == [made]
    assert (await acme.ask("GET", "/sessions?status=ended"))["data"] == []


async def test_another_tenants_session_looks_missing(node: ApiNode) -> None:
    """To read, to watch, to fund and to end."""
    acme, other = await node.tenant("acme"), await node.tenant("other")
    session_id = (await acme.ask("POST", "/sessions", {"budget_usd": 1}, 201))["id"]
    for method, path in (("GET", session_id), ("GET", f"{session_id}/stats"), ("DELETE", session_id)):
        assert await other.ask(method, f"/sessions/{path}", expect=404) == "NOT_FOUND"
    funding = {"session_id": session_id, "amount": 1, "source": "test"}
    assert await other.ask("POST", "/sessions/fund", funding, 404) == "NOT_FOUND"
    assert (await other.ask("GET", "/sessions"))["data"] == []


@pytest.mark.database
async def test_a_session_is_funded_once_under_one_key(node: ApiNode) -> None:
    """Twenty at once, and again later: one funding; another body under the key is a conflict."""
    acme = await node.tenant("acme")
    session_id = (await acme.ask("POST", "/sessions", {"budget_usd": "0.5"}, 201))["id"]
    body = {"session_id": session_id, "amount": "0.25", "source": "test", "network": "eip155:31337"}
    header = {"Idempotency-Key": "k1"}

    answers = await asyncio.gather(
        *(acme.http.post("/api/v2/sessions/fund", json=body, headers=header) for _ in range(20))
    )

    assert {answer.status_code for answer in answers} <= {200, 409}
    funded = await acme.ask("POST", "/sessions/fund", body, **header)
    assert funded["budget"]["total_usd_exact"] == "0.75"
    assert {answer.json()["funding"]["id"] for answer in answers if answer.is_success} == {funded["funding"]["id"]}
    changed = body | {"amount": 1}
    assert await acme.ask("POST", "/sessions/fund", changed, 409, **header) == "IDEMPOTENCY_CONFLICT"


async def test_an_ended_session_is_not_funded_and_keeps_what_it_was(node: ApiNode) -> None:
    """Ending twice is ending once; its money is nobody's to spend."""
    acme = await node.tenant("acme")
    session_id = (await acme.ask("POST", "/sessions", {"budget_usd": 2}, 201))["id"]
    await acme.ask("POST", "/sessions/fund", {"session_id": session_id, "amount": 1, "source": "test"})
    ended = await acme.ask("DELETE", f"/sessions/{session_id}")
    assert (ended["status"], ended["budget"]["total_usd"], ended["budget"]["remaining_usd"]) == ("ended", 3, 0)
    assert await acme.ask("DELETE", f"/sessions/{session_id}") == ended
    funding = {"session_id": session_id, "amount": 1, "source": "test"}
    assert await acme.ask("POST", "/sessions/fund", funding, 409) == "SESSION_ENDED"


async def test_what_no_session_can_be_made_of_is_refused_by_name(node: ApiNode) -> None:
    """The field is named; what exists and is not offered yet says so."""
    acme = await node.tenant("acme")
    for body, param in (
        ({}, "budget_usd"),
        ({"budget_usd": 0}, "budget_usd"),
        ({"budget_usd": -1}, "budget_usd"),
        ({"budget_usd": True}, "budget_usd"),
        ({"budget_usd": 1, "expires_in_hours": 0}, "expires_in_hours"),
        ({"budget_usd": 1, "expires_in_hours": 1e9}, "expires_in_hours"),
        ({"budget_usd": 1, "expires_in_hours": "soon"}, "expires_in_hours"),
        ({"budget_usd": 1, "agent_id": "a\u0000b"}, "agent_id"),
        ({"budget_usd": 1, "policy": {"limits": {"usd_per_day": 1}}}, "policy.limits.usd_per_day"),
        ({"budget_usd": 1, "policy": {"billing": "open"}}, "policy.billing"),
        ({"budget_usd": 1, "wallet_source": "cdp", "agent_id": "a"}, "wallet_source"),
    ):
        answer = await acme.http.post("/api/v2/sessions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    session_id = (await acme.ask("POST", "/sessions", {"budget_usd": 1}, 201))["id"]
    for source, code in (("base_pay", "NOT_OFFERED"), ("direct", "NOT_OFFERED"), ("gift", "INVALID_INPUT")):
        funding = {"session_id": session_id, "amount": 1, "source": source}
        assert await acme.ask("POST", "/sessions/fund", funding, 400) == code
    assert await acme.ask("GET", "/sessions?status=gone", expect=400) == "INVALID_INPUT"
