"""Keys and policies over HTTP: shown once, handing on no more than they have, narrowed and never widened."""

from __future__ import annotations

import pytest
from api_node import ApiNode


@pytest.mark.database
async def test_a_key_is_made_used_rotated_and_revoked(node: ApiNode) -> None:
    """Its secret is in one answer; after a rotation with an overlap both secrets work, after the revocation none."""
    admin = await node.tenant("acme")
    made = await admin.ask("POST", "/keys", {"name": "ci", "scopes": ["spend"]}, 201)
    assert (made["tenant_id"], made["scopes"], made["key"][:10]) == ("acme", ["spend"], "p402_live_")
    (listed,) = [key for key in (await admin.ask("GET", "/keys"))["data"] if key["id"] == made["id"]]
    assert made["key"] not in str(listed)

    rotated = await admin.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_s": 60})
    old, new = node.client(made["key"]), node.client(rotated["key"])
    assert await old.ask("GET", "/credits/balance") == await new.ask("GET", "/credits/balance")
    again = await admin.ask("POST", f"/keys/{made['id']}/rotate")
    assert await old.ask("GET", "/credits/balance", expect=401) == "KEY_INVALID"
    assert await new.ask("GET", "/credits/balance", expect=401) == "KEY_INVALID"
    last = node.client(again["key"])
    await last.ask("GET", "/credits/balance")
    await admin.ask("DELETE", f"/keys/{made['id']}")
    assert await last.ask("GET", "/credits/balance", expect=401) == "KEY_INVALID"
    assert await admin.ask("POST", f"/keys/{made['id']}/rotate", expect=409) == "CONFLICT"


async def test_a_key_hands_on_no_more_than_it_has(node: ApiNode) -> None:
    """Neither by making a key nor by rotating one whose secret it would then see."""
    owner = await node.tenant("acme")
    wide = await owner.ask("POST", "/keys", {"name": "owner", "role": "owner"}, 201)
    made = await owner.ask("POST", "/keys", {"name": "admin", "role": "admin"}, 201)
    admin = node.client(made["key"])
    for asked in ({"scopes": ["spend"]}, {"role": "owner"}, {"role": "finance"}):
        assert await admin.ask("POST", "/keys", {"name": "x", **asked}, 403) == "SCOPE_MISSING"
    assert await admin.ask("POST", f"/keys/{wide['id']}/rotate", expect=403) == "SCOPE_MISSING"
    viewer = await admin.ask("POST", "/keys", {"name": "x", "role": "viewer"}, 201)
    assert (viewer["role"], viewer["scopes"]) == ("viewer", ["meter:read"])
    assert await node.client(viewer["key"]).ask("GET", "/keys", expect=403) == "SCOPE_MISSING"


async def test_another_tenants_key_looks_missing(node: ApiNode) -> None:
    """And a tenant_id in a body selects nobody."""
    acme, other = await node.tenant("acme"), await node.tenant("other")
    made = await acme.ask("POST", "/keys", {"name": "ci", "scopes": ["spend"], "tenant_id": "other"}, 201)
    assert made["tenant_id"] == "acme"
    for method, path in (("POST", "rotate"), ("GET", "policy"), ("PUT", "policy")):
        assert await other.ask(method, f"/keys/{made['id']}/{path}", {}, 404) == "NOT_FOUND"
    assert await other.ask("DELETE", f"/keys/{made['id']}", expect=404) == "NOT_FOUND"


async def test_what_no_key_can_be_made_of_is_refused_by_name(node: ApiNode) -> None:
    """And leaves no key that works."""
    admin = await node.tenant("acme")
    scopes = ["spend"]
    for body in (
        {"name": "x"},
        {"name": "x", "scopes": ["fly"]},
        {"name": "x", "scopes": "spend"},
        {"name": "x", "scopes": scopes, "role": "owner"},
        {"name": "x", "role": "king"},
        {"name": 7, "scopes": scopes},
        {"name": "x", "scopes": scopes, "policy": {"limits": {"usd_per_week": 1}}},
        {"name": "x", "scopes": scopes, "policy": ["limits"]},
        {"name": "x", "scopes": ["admin"], "policy": {"anomaly": "hard"}},
    ):
        assert await admin.ask("POST", "/keys", body, 400) == "INVALID_INPUT", body
    others = [key for key in (await admin.ask("GET", "/keys"))["data"] if key["name"] != "test"]
    assert all(key["revoked_at"] is not None for key in others)


@pytest.mark.database
async def test_a_tenant_narrows_its_frame_and_only_the_operator_widens_it(node: ApiNode) -> None:
    """What GET answers can be sent back; more than the frame, or another billing, is refused by name."""
    acme, operator = await node.tenant("acme"), await node.tenant("node")
    held = await acme.ask("GET", "/policy")
    assert held["limits"]["usd_per_day"] == 1000 and held["billing"] == "open"
    assert await acme.ask("PUT", "/policy", held) == held

    narrow = {"limits": {"usd_per_day": "0.5"}, "models": {"deny": ["m9"]}, "anomaly": "hard"}
    assert (await acme.ask("PUT", "/policy", narrow))["limits"]["usd_per_day_exact"] == "0.5"
    assert await acme.ask("PUT", "/policy", {"limits": {"usd_per_day": 1001}}, 403) == "POLICY_WIDER"
    assert await acme.ask("PUT", "/policy", {"billing": "prepaid"}, 403) == "POLICY_WIDER"
    assert await acme.ask("PUT", "/tenants/acme/policy", {}, 403) == "SCOPE_MISSING"
    assert (await acme.ask("GET", "/policy"))["limits"]["usd_per_day"] == 0.5

    frame = {"limits": {"usd_per_day": 5000}, "billing": "prepaid"}
    framed = await operator.ask("PUT", "/tenants/acme/policy", frame)
    assert (framed["limits"]["usd_per_day"], framed["billing"]) == (0.5, "prepaid")
    assert (await acme.ask("PUT", "/policy", {}))["limits"]["usd_per_day"] == 5000


async def test_a_keys_policy_narrows_its_tenants(node: ApiNode) -> None:
    """It has no billing and no budgets of its own, nothing above the tenant's, and none at all with admin."""
    admin = await node.tenant("acme")
    policy = {"limits": {"requests_per_hour": 3}, "vendors": {"allow": ["openai"]}}
    made = await admin.ask("POST", "/keys", {"name": "ci", "scopes": ["chat"], "policy": policy}, 201)
    held = await admin.ask("GET", f"/keys/{made['id']}/policy")
    assert (held["limits"]["requests_per_hour"], held["vendors"]["allow"]) == (3, ["openai"])
    wider = {"limits": {"concurrent": 11}}
    assert await admin.ask("PUT", f"/keys/{made['id']}/policy", wider, 403) == "POLICY_WIDER"
    budgets = {"budgets": [{"owner_type": "agent", "owner_id": "a", "period": "day", "limit_usd": 1}]}
    for document in (budgets, {"billing": "open"}):
        assert await admin.ask("PUT", f"/keys/{made['id']}/policy", document, 400) == "INVALID_INPUT"


async def test_a_tenant_made_over_http_is_prepaid_and_only_the_operator_makes_one(node: ApiNode) -> None:
    """Its first key owns it."""
    operator, acme = await node.tenant("node"), await node.tenant("acme")
    assert await acme.ask("POST", "/tenants", {"id": "new"}, 403) == "SCOPE_MISSING"
    made = await operator.ask("POST", "/tenants", {"id": "new", "name": "New"}, 201)
    assert (made["billing"], made["key"]["role"]) == ("prepaid", "owner")
    assert (await node.client(made["key"]["key"]).ask("GET", "/policy"))["billing"] == "prepaid"
    assert await operator.ask("POST", "/tenants", {"id": "new"}, 409) == "CONFLICT"
    assert await operator.ask("GET", "/tenants/nobody/policy", expect=404) == "NOT_FOUND"
