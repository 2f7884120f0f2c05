"""HTTP+JSON as 0.3 has it: the same tasks as everywhere, in its own words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from a2a_world import Rpc, Stage


def said(text: str, skill: str, message_id: str = "m1", **fields: Any) -> dict[str, Any]:
    content = [{"text": text}, {"data": {"data": {"n": 12345678901234567890}}}]
    return {
        "message": {
            "messageId": message_id,
            "role": "ROLE_USER",
            "content": content,
            "metadata": {"skill": skill},
            **fields,
        }
    }


@pytest.fixture
def base(origin: str) -> str:
    return f"{origin}/api/a2a/rest/v1"


async def test_send_get_and_cancel(http: httpx.AsyncClient, base: str, rpc: Rpc, stage: Stage) -> None:
    """What one version made the other reads; data keeps its numbers; history is as long as asked."""
    sent = (await http.post(f"{base}/message:send", json=said("apple", "guess"))).json()["task"]
    assert sent["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert json.loads(stage.works[0].text.splitlines()[1]) == {"n": 12345678901234567890}
    task_id = sent["id"]
    assert (await rpc.call("GetTask", {"id": task_id}))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    await http.post(f"{base}/message:send", json=said("pear", "guess", "m2", taskId=task_id))
    got = (await http.get(f"{base}/tasks/{task_id}", params={"history_length": "1"})).json()
    assert (got["id"], len(got["history"])) == (task_id, 1)
    canceled = (await http.post(f"{base}/tasks/{task_id}:cancel")).json()
    assert canceled["status"]["state"] == "TASK_STATE_CANCELLED"


async def test_streams_and_what_refuses_them(http: httpx.AsyncClient, base: str, stage: Stage) -> None:
    """Events as they come; a stream that is refused is an HTTP error with the reason, before any body."""
    for chunk in ("a", None):
        await stage.chunks.put(chunk)
    async with http.stream("POST", f"{base}/message:stream", json=said("go", "tell")) as answer:
        steps = [json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert "task" in steps[0] and steps[-1]["statusUpdate"]["final"] is True
    ended = await http.post(f"{base}/tasks/{steps[0]['task']['id']}:subscribe")
    missing = await http.get(f"{base}/tasks/task_{'0' * 32}:subscribe")
    assert (ended.status_code, missing.status_code) == (400, 404)
    assert missing.json()["error"]["details"][0]["reason"] == "TASK_NOT_FOUND"


async def test_push_configurations(http: httpx.AsyncClient, base: str) -> None:
    """Set without an id and with an empty authentication, listed, deleted."""
    task_id = (await http.post(f"{base}/message:send", json=said("apple", "guess"))).json()["task"]["id"]
    configs = f"{base}/tasks/{task_id}/pushNotificationConfigs"
    asked = {
        "parent": f"tasks/{task_id}",
        "config": {"pushNotificationConfig": {"url": "http://127.0.0.1:8099/x", "authentication": {}}},
    }
    made = (await http.post(configs, json=asked)).json()
    assert made["pushNotificationConfig"]["id"] == "default"
    assert len((await http.get(configs)).json()["configs"]) == 1
    assert (await http.delete(f"{configs}/default")).status_code == 200
    assert (await http.get(f"{configs}/default")).status_code == 404


async def test_a_stream_that_waits_for_its_caller_is_final(rpc03: Rpc) -> None:
    """To 0.3 the last event of a stream says so, also where the task goes on."""
    message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "apple"}]}
    asked = {"message": {**message, "metadata": {"skill": "guess"}}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": asked}
    async with rpc03.http.stream("POST", f"{rpc03.origin}/api/a2a", json=body) as answer:
        steps = [json.loads(line[6:])["result"] async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert (steps[-1]["status"]["state"], steps[-1]["final"]) == ("input-required", True)
    assert [step["final"] for step in steps[1:-1] if step["kind"] == "status-update"] == [False]


@pytest.mark.parametrize(("path", "status"), [("/api/a2a", 200), ("/api/a2a/rest/message:send", 415)])
async def test_another_media_type_is_refused(http: httpx.AsyncClient, origin: str, path: str, status: int) -> None:
    """Before the body is read: -32005 over JSON-RPC, 415 over HTTP+JSON."""
    answer = await http.post(origin + path, content=b"no json", headers={"Content-Type": "text/plain"})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == (-32005 if status == 200 else 415)


@pytest.mark.parametrize("content", [[[]], [{}], [""], [{"text": None}]])
async def test_what_is_none_of_0_3_is_the_callers_mistake(http: httpx.AsyncClient, base: str, content: Any) -> None:
    """Whole, streamed, or read back."""
    message = {"messageId": "m", "role": "ROLE_USER", "content": content}
    for path in ("message:send", "message:stream"):
        answer = await http.post(f"{base}/{path}", json={"message": message})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    asked = await http.get(f"{base}/tasks/task_{'0' * 32}", params={"history_length": "long"})
    assert asked.status_code == 400
