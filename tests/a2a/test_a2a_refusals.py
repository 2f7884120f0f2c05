"""What is refused, with A2A's own error, our code in its data, and no task left behind."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from a2a_world import Rpc, Stage, message
from sqlalchemy import text

from ledger.database import Database

ECHO = {"skill": "echo"}
BAD_MESSAGES: list[tuple[str, dict[str, Any], int]] = [
    ("no message", {}, -32602),
    ("no message id", {"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}, -32602),
    ("no parts", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}, -32602),
    ("an empty part", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}, -32602),
    ("the agent's role", {"message": message("x", role="ROLE_AGENT")}, -32602),
    ("no role", {"message": {"messageId": "m", "parts": [{"text": "x"}]}}, -32602),
    ("an unknown skill", {"message": message("x", metadata={"skill": "fly"})}, -32602),
    ("a skill that is no name", {"message": message("x", metadata={"skill": ["echo"]})}, -32602),
    ("a file", {"message": {**message("x", metadata=ECHO), "parts": [{"url": "https://e.com/f"}]}}, -32005),
    ("a media type", {"message": {**message("x"), "parts": [{"text": "x", "mediaType": "image/png"}]}}, -32005),
    ("another task id", {"message": message("x", taskId="task_" + "0" * 32)}, -32001),
    ("no task id at all", {"message": message("x", taskId="../x\u0000")}, -32001),
    ("a context with spaces", {"message": message("x", contextId="a b", metadata=ECHO)}, -32602),
    ("a negative history", {"message": message("x"), "configuration": {"historyLength": -1}}, -32602),
    ("params that are no object", {"message": "x"}, -32602),
]


@pytest.mark.parametrize(("what", "params", "code"), BAD_MESSAGES, ids=[each[0] for each in BAD_MESSAGES])
async def test_a_bad_message_is_refused(
    rpc: Rpc, database: Database, what: str, params: dict[str, Any], code: int
) -> None:
    """Each is refused with its own code, streamed or not, and nothing is written."""
    for method in ("SendMessage", "SendStreamingMessage"):
        assert (await rpc.error(method, params))["code"] == code, what
    async with database.read() as session:
        assert (await (await session.connection()).execute(text("SELECT count(*) FROM task"))).scalar() == 0


async def test_an_unknown_skill_is_named(rpc: Rpc) -> None:
    """The refusal says which skill, and which there are."""
    error = await rpc.error("SendMessage", {"message": message("x", metadata={"skill": "fly"})})
    assert "'fly'" in error["message"] and "echo" in error["message"]
    assert error["data"][0]["metadata"]["param"] == "metadata.skill"


@pytest.mark.parametrize("part", [{"type": "image", "text": "x"}, {"text": "x"}, {"kind": "image", "url": "x"}])
async def test_bad_params_in_0_3_are_invalid_params(rpc03: Rpc, part: dict[str, Any]) -> None:
    """0.3 answers JSON-RPC's -32602 and names the field, also for a part without its kind."""
    error = await rpc03.error("message/send", {"message": {"messageId": "m", "role": "user", "parts": [part]}})
    assert error["code"] == -32602 and "parts" in json.dumps(error["data"])
    assert (await rpc03.error("message/send", {}))["code"] == -32602
    assert (await rpc03.error("tasks/get", {"id": "none"}))["code"] == -32001


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", -32700),
        (b'{"a": NaN}', "application/json", -32700),
        (b'{"a": 1e999}', "application/json", -32700),
        (b"[" * 100_000, "application/json", -32700),
        (b"hello", "text/plain", -32005),
        (b"[]", "application/json", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"Fly"}', "application/json", -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{}}', "application/json", -32602),
        (b'"' + b"x" * 1_100_000 + b'"', "application/json", -32600),
        (b'{"params":[' + b"1," * 10_000 + b"1]}", "application/json", -32600),
    ],
)
async def test_a_bad_body_is_refused(
    origin: str, http: httpx.AsyncClient, body: bytes, content_type: str, code: int
) -> None:
    """Not JSON, not of JSON's media type, too large, of too many values, no such method."""
    headers = {"Content-Type": content_type, "A2A-Version": "1.0"}
    answer = await http.post(f"{origin}/api/a2a", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)


@pytest.mark.parametrize("body", [b"{", b'"' + b"x" * 1_100_000 + b'"', b"{}"], ids=["cut", "large", "empty"])
async def test_a_bad_body_is_400_over_rest(origin: str, http: httpx.AsyncClient, body: bytes) -> None:
    """HTTP+JSON refuses it with a status, never a 5xx."""
    headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
    answer = await http.post(f"{origin}/api/a2a/rest/message:send", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_wrong_version_is_refused(rpc: Rpc) -> None:
    """A version that nobody speaks is told so."""
    assert (await rpc.error("GetTask", {"id": "x"}, **{"A2A-Version": "2.0"}))["code"] == -32009


async def test_a_bad_key_is_401(origin: str, http: httpx.AsyncClient) -> None:
    """A2A is open without a key, but a key that is none is refused."""
    answer = await http.post(f"{origin}/api/a2a", json={}, headers={"Authorization": "Bearer nobody"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "KEY_INVALID")


async def test_a_message_to_a_task_at_work_is_refused(rpc: Rpc, stage: Stage) -> None:
    """The task is at work; another context's message to it is not its own."""
    params = {"message": message("x", metadata={"skill": "slow"}), "configuration": {"returnImmediately": True}}
    task = (await rpc.call("SendMessage", params))["task"]
    assert (await rpc.error("SendMessage", {"message": message("y", "m2", taskId=task["id"])}))["code"] == -32004
    other = {"message": message("y", "m3", taskId=task["id"], contextId="other")}
    assert (await rpc.error("SendMessage", other))["code"] == -32602
    stage.go.set()


async def test_a_broken_skill_fails_its_task(rpc: Rpc, caplog: pytest.LogCaptureFixture) -> None:
    """failed with a machine code; what broke is neither in the answer nor, with its content, in the log."""
    task = await rpc.send("my text", skill="broken")
    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert task["status"]["message"]["metadata"]["error"]["code"] == "SKILL_FAILED"
    assert "secret" not in json.dumps(task["status"]) and "my text" not in caplog.text
    assert "RuntimeError" in caplog.text
