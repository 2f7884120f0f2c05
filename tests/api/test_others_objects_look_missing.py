"""Another tenant's objects look missing, on every route that names one: same status, same words."""

from __future__ import annotations

from typing import Any

import pytest
from api_node import ApiClient, ApiNode
from fastapi.routing import APIRoute
from test_routes_name_their_scope import _routes

from ledger.clock import SystemClock, seconds
from tests.mandates.world import AGENT, GRANTOR, did
from trust.signatures import eip712

OPEN = {
    "/api/v2/bazaar/listings/{listing_id}": "public",
    "/api/v2/payments/{payment_id}": "the id is the payer's secret",
    "/api/v2/payments/{payment_id}/refund": "the payer's signature, or the operator's key",
    "/api/v2/receipts/{receipt_id}": "the id is the payer's secret",
    "/api/v2/receipts/{receipt_id}/charges/{event_id}": "the id is the payer's secret",
    "/api/v2/evidence/tasks/{task_id}": "the id is the payer's secret",
    "/v1/models/{model_id:path}": "public",
    "/api/v2/tenants/{tenant_id}/policy": "the operator's",
}
OF_AGENTS = {
    "/api/a2a/mandates/{mandate_id}/use/prepare",
    "/api/a2a/mandates/{mandate_id}/use",
    "/api/a2a/mandates/{mandate_id}/authorize",
    "/api/a2a/mandates/{mandate_id}/uses/{use_id}/capture",
    "/api/a2a/mandates/{mandate_id}/uses/{use_id}/release",
}
"""A mandate is its agent's to use, whatever tenant it is of, by its signature: without one refused, and not missing."""
MADE_UP = {
    "key_id": "key_" + "0" * 32,
    "session_id": "sess_" + "0" * 32,
    "mandate_id": "mnd_" + "0" * 32,
    "use_id": "use_" + "0" * 32,
    "request_id": "req_" + "0" * 32,
    "delivery_id": "out_" + "0" * 32,
    "call_id": "call_" + "0" * 32,
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/a2a/mandates/{mandate_id}/use": {"amount_usd": 1, "category": "x", "description": "x"},
    "/api/a2a/mandates/{mandate_id}/use/prepare": {"amount_usd": 1, "category": "x", "description": "x"},
    "/api/a2a/mandates/{mandate_id}/authorize": {"amount_usd": 1, "category": "x", "description": "x"},
    "/api/a2a/mandates/{mandate_id}/uses/{use_id}/capture": {"amount_usd": 1},
}


async def objects_of(client: ApiClient) -> dict[str, str]:
    """One of each that a tenant can make on a node without a chain, by the name that routes give its id."""
    limits = {"max_amount_usd": 10, "allowed_categories": [], "valid_until": seconds(SystemClock().now_us()) + 9_000}
    bare = {"type": "intent", "user_did": did(GRANTOR), "agent_did": did(AGENT), "constraints": limits}
    prepared = await sent(client, "POST", "/api/a2a/mandates/prepare", {"mandate": bare})
    signed = {**prepared["mandate"], "signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    mandate = await sent(client, "POST", "/api/a2a/mandates", {"mandate": signed})
    use_of = f"/api/a2a/mandates/{mandate['mandate']['id']}/authorize"
    use = await sent(client, "POST", use_of, BODIES["/api/a2a/mandates/{mandate_id}/authorize"])
    asked = await sent(client, "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]})
    return {
        "key_id": (await client.ask("POST", "/keys", {"name": "ci", "scopes": ["spend"]}, 201))["id"],
        "session_id": (await client.ask("POST", "/sessions", {"budget_usd": 1}, 201))["id"],
        "mandate_id": mandate["mandate"]["id"],
        "use_id": use["use"]["id"],
        "request_id": asked["p402_metadata"]["request_id"],
    }


async def sent(client: ApiClient, method: str, path: str, body: Any) -> Any:
    answer = await client.http.request(method, path, json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


@pytest.mark.database
async def test_what_is_anothers_looks_missing_on_every_route_that_names_it(node: ApiNode) -> None:
    """To read, change, spend and end; then its owner finds it as it was."""
    owner, other = await node.tenant("acme"), await node.tenant("other")
    theirs = await objects_of(owner)
    before = await owner.ask("GET", f"/sessions/{theirs['session_id']}")
    differing = {}
    named = {path: route for path, route in _routes(node.app.routes) if "{" in path and isinstance(route, APIRoute)}
    assert set(OPEN) < set(named)
    for path, route in named.items():
        for method in sorted(route.methods) if path not in OPEN else ():
            answers = [
                await other.http.request(method, path.format(**ids), json=BODIES.get(path, {}))
                for ids in (MADE_UP | theirs, MADE_UP)
            ]
            told = [anonymous(answer.text, theirs) for answer in answers]
            if path in OF_AGENTS:
                assert answers[0].status_code >= 400 or path.endswith("/prepare"), answers[0].text
            elif answers[0].status_code < 400 or answers[0].status_code != answers[1].status_code or told[0] != told[1]:
                differing[f"{method} {path}"] = told
    assert differing == {}
    assert (await owner.ask("GET", f"/sessions/{theirs['session_id']}"))["budget"] == before["budget"]


def anonymous(text: str, theirs: dict[str, str]) -> str:
    for name, value in theirs.items():
        text = text.replace(value, MADE_UP[name])
    return text
