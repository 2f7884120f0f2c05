"""What no database could store and no writer could write is refused as the caller's mistake, and is no bug of ours."""

from __future__ import annotations

import pytest
from api_node import ApiNode

DEEP = "[" * 300 + "]" * 300
ASKED = '"messages":[{"role":"user","content":"One. Two."}]'
CHAT = "/v1/chat/completions"

ODD = [
    ("GET", "/api/v2/sessions/%00", ""),
    ("DELETE", "/api/v2/keys/%00", ""),
    ("GET", "/api/v2/requests/%00/trace", ""),
    ("GET", "/api/v2/credits/history?cursor=99999999999999999999999:x:0", ""),
    ("GET", "/api/v2/credits/history?cursor=9:%00:0", ""),
    ("POST", "/api/v2/cache/invalidate", r'{"model":"\u0000"}'),
    ("POST", "/api/v2/cache/invalidate", r'{"model":"\ud800"}'),
    ("PUT", "/api/v2/policy", r'{"\ud800":1}'),
    ("POST", "/api/v2/sessions", f'{{"budget_usd":1,"expires_in_hours":1{"0" * 400}}}'),
    ("POST", "/api/v2/sessions", '{"budget_usd":1,"expires_in_hours":NaN}'),
    ("POST", "/api/v2/sessions", '{"budget_usd":1,"expires_in_hours":Infinity}'),
    ("POST", "/api/v2/keys", '{"name":"x","role":["owner"]}'),
    ("POST", "/api/v2/bazaar/call", r'{"resource_id":"\u0000","message":"x","max_price":1}'),
    ("POST", "/api/v2/bazaar/call", r'{"resource_id":"\ud800","message":"x","max_price":1}'),
    ("GET", "/api/v2/sessions/", ""),
    ("POST", CHAT, rf'{{{ASKED},"p402":{{"session_id":"\u0000"}}}}'),
    ("POST", CHAT, rf'{{{ASKED},"metadata":{{"department":"\u0000"}}}}'),
    ("POST", CHAT, f'{{{ASKED},"stop":{DEEP},"p402":{{"cache":true}}}}'),
]


@pytest.mark.database
async def test_odd_input_is_the_callers_mistake(node: ApiNode) -> None:
    client = await node.tenant("acme")
    for method, path, body in ODD:
        answer = await client.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500, (path, body[:80], answer.text)
        assert answer.json()["error"]["code"] in ("INVALID_INPUT", "NOT_FOUND")


async def test_a_body_that_is_nested_too_deep_for_its_idempotency_key_is_refused(node: ApiNode) -> None:
    client = await node.tenant("acme")
    body, headers = f'{{{ASKED},"x":{DEEP}}}', {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    answer = await client.http.post(CHAT, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")


async def test_a_fields_name_is_not_said_at_its_whole_length(node: ApiNode) -> None:
    """In ASCII it would be three times as long as it came, and stand in the answer twice."""
    client = await node.tenant("acme")
    for name in ("p402", "metadata", "x"):
        body = f'{{{ASKED},"{"é" * 500_000}":1}}' if name == "x" else f'{{{ASKED},"{name}":{{"{"é" * 500_000}":[]}}}}'
        answer = await client.http.post(CHAT, content=body.encode())
        assert answer.status_code == 400 and len(answer.content) < 4_000, name


@pytest.mark.database
async def test_no_nul_is_booked_and_its_field_is_named(node: ApiNode) -> None:
    client = await node.tenant("acme")
    for said, param in (
        ('{"x": "a\\u0000"}', "metadata.x"),
        ('{"tags": ["\\u0000"]}', "metadata.tags[0]"),
        ('{"task": "\\u0000"}', "metadata.task"),
    ):
        answer = await client.http.post(CHAT, content=f'{{{ASKED},"metadata":{said}}}')
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_only_a_count_above_zero_is_a_retry(node: ApiNode) -> None:
    """Anything else that says nothing of a first try buys an answer of its own."""
    client = await node.tenant("acme")
    joins = {"1": True, "0": False, "00": False, "": False, "-1": False, "x": False}
    for count in joins:
        ids, body = [], f"{{{ASKED.replace('One', f'One{count}.')}}}"
        for said in ("0", count):
            headers = {"X-Stainless-Retry-Count": said}
            ids.append((await client.http.post(CHAT, content=body, headers=headers)).json()["id"])
        assert (ids[0] == ids[1]) is joins[count], count
