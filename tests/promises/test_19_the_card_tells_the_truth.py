"""Promise 19: the card tells the truth: what it claims is there, what it does not is refused before a task exists."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from ledger.clock import SystemClock
from ledger.database import Database
from tests.a2a.a2a_world import Stage, TestGate, a_runtime, message, served
from tests.a2a.push_world import receiving


@pytest.fixture
async def node(database: Database) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    runtime = a_runtime(database, Stage(), TestGate(SystemClock()))
    async with served(runtime) as origin, httpx.AsyncClient(base_url=origin, timeout=30) as http:
        yield http, (await http.get("/.well-known/agent-card.json", headers={"A2A-Version": "1.0"})).json()


def send(skill: str = "echo", **fields: Any) -> dict[str, Any]:
    return {"message": message("hello", metadata={"skill": skill}, **fields)}


def send_03(skill: str = "echo") -> dict[str, Any]:
    parts = [{"kind": "text", "text": "hello"}]
    return {"message": {"messageId": "m", "role": "user", "parts": parts, "metadata": {"skill": skill}}}


def rpc(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def test_each_claim_is_kept(
    node: tuple[httpx.AsyncClient, dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    """Every interface in its version, every extension, every capability, every skill is called, and answers."""
    http, card = node
    claims = 0
    for interface in card["supportedInterfaces"]:
        url, version = interface["url"], interface["protocolVersion"]
        headers = {"A2A-Version": version}
        if interface["protocolBinding"] == "JSONRPC":
            body = rpc("SendMessage", send()) if version == "1.0" else rpc("message/send", send_03())
            answer = (await http.post(url, json=body, headers=headers)).json()["result"]
        elif version == "1.0":
            answer = (await http.post(f"{url}/message:send", json=send(), headers=headers)).json()
        else:
            said = {
                "messageId": "m",
                "role": "ROLE_USER",
                "content": [{"text": "hello"}],
                "metadata": {"skill": "echo"},
            }
            answer = (await http.post(f"{url}/v1/message:send", json={"message": said}, headers=headers)).json()
        assert "hello" in json.dumps(answer.get("task", answer)["artifacts"]), interface
        claims += 1
    for extension in card["capabilities"]["extensions"]:
        headers = {"A2A-Version": "1.0", "A2A-Extensions": extension["uri"]}
        reply = await http.post("/api/a2a", json=rpc("SendMessage", send("ask")), headers=headers)
        assert reply.headers["A2A-Extensions"] == extension["uri"]
        status = reply.json()["result"]["task"]["status"]["message"]["metadata"]
        assert status["x402.payment.status"] == "payment-required"
        claims += 1
    assert card["capabilities"]["streaming"] and card["capabilities"]["pushNotifications"]
    headers = {"A2A-Version": "1.0"}
    assert card["capabilities"]["extendedAgentCard"]
    for scheme in card["securitySchemes"].values():
        wallet = scheme.get("apiKeySecurityScheme")
        identity = {wallet["name"]: "0xab"} if wallet else {"Authorization": "Bearer alice"}
        mine = (await http.post("/api/a2a", json=rpc("GetExtendedAgentCard", {}), headers=headers | identity)).json()
        assert mine["result"]["skills"] == card["skills"]
        claims += 1
    async with http.stream("POST", "/api/a2a", json=rpc("SendStreamingMessage", send()), headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in stream.aiter_lines() if line.startswith("data: ")]
        assert "TASK_STATE_COMPLETED" in lines[-1]
    async with receiving() as receiver:
        asked = {**send(), "configuration": {"taskPushNotificationConfig": {"url": receiver.url}}}
        assert "result" in (await http.post("/api/a2a", json=rpc("SendMessage", asked), headers=headers)).json()
    for skill in card["skills"]:
        params = {**send(skill["id"]), "configuration": {"returnImmediately": True}}
        assert "result" in (await http.post("/api/a2a", json=rpc("SendMessage", params), headers=headers)).json()
        claims += 1
    record_property("figure", f"{claims + 3} claims called")


async def test_what_is_not_claimed_is_refused_before_a_task_exists(
    node: tuple[httpx.AsyncClient, dict[str, Any]], database: Database
) -> None:
    """Other versions, methods, skills, media types and bindings, the extended card for nobody: no row is written."""
    http, card = node
    assert {each["protocolBinding"] for each in card["supportedInterfaces"]} == {"JSONRPC", "HTTP+JSON"}
    picture = {"raw": "aGk=", "mediaType": "image/png"}
    refused = [
        ("2.0", "SendMessage", send(), -32009),
        ("1.0", "tasks/list", {}, -32601),
        ("1.0", "SendMessage", send("fly"), -32602),
        ("1.0", "SendMessage", send(parts=[picture]), -32005),
    ]
    for version, method, params, code in refused:
        answer = (await http.post("/api/a2a", json=rpc(method, params), headers={"A2A-Version": version})).json()
        assert answer["error"]["code"] == code, (method, answer)
    extended = rpc("GetExtendedAgentCard", {})
    assert (await http.post("/api/a2a", json=extended, headers={"A2A-Version": "1.0"})).status_code == 401
    with contextlib.suppress(httpx.HTTPError):
        assert (await http.post("/lf.a2a.v1.A2AService/SendMessage", content=b"")).status_code == 404
    async with database.read() as session:
        count = await (await session.connection()).execute(text("SELECT count(*) FROM task"))
        assert count.scalar_one() == 0
