"""The free skill, over both protocol versions on one URL."""

from __future__ import annotations

import re
from typing import Any

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as pb
from a2a_world import Rpc, message


async def test_the_official_client_completes_echo(origin: str, http: httpx.AsyncClient) -> None:
    """The official 1.0 client finds the card, sends a message and gets the finished task."""
    card = await A2ACardResolver(http, origin).get_agent_card()
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
    sent = pb.Message(message_id="m1", role=pb.Role.ROLE_USER, parts=[pb.Part(text="hello")])
    sent.metadata.update({"skill": "echo"})
    (answer,) = [each async for each in client.send_message(pb.SendMessageRequest(message=sent))]
    assert answer.task.status.state == pb.TaskState.TASK_STATE_COMPLETED
    assert answer.task.artifacts[0].parts[0].text == "hello"
    assert [each.parts[0].text for each in answer.task.history] == ["hello"]


async def test_the_official_client_streams_echo(origin: str, http: httpx.AsyncClient) -> None:
    """Streamed, the same task arrives as task, artifact and end."""
    card = await A2ACardResolver(http, origin).get_agent_card()
    client = ClientFactory(ClientConfig(httpx_client=http, streaming=True)).create(card)
    sent = pb.Message(message_id="m1", role=pb.Role.ROLE_USER, parts=[pb.Part(text="hello")])
    sent.metadata.update({"skill": "echo"})
    kinds = [each.WhichOneof("payload") async for each in client.send_message(pb.SendMessageRequest(message=sent))]
    assert kinds == ["task", "artifact_update", "status_update"]


async def test_a_plain_0_3_call_completes_echo(rpc03: Rpc) -> None:
    """A 0.3 call on the same URL, without any version header, gets a 0.3 task."""
    params = {
        "message": {
            "kind": "message",
            "messageId": "m1",
            "role": "user",
            "parts": [{"kind": "text", "text": "hello"}],
            "metadata": {"skill": "echo"},
        }
    }
    task = await rpc03.call("message/send", params)
    assert (task["kind"], task["status"]["state"]) == ("task", "completed")
    assert task["artifacts"][0]["parts"] == [{"kind": "text", "text": "hello"}]
    assert (await rpc03.call("tasks/get", {"id": task["id"]})) == task


async def test_a_task_can_be_read_again_in_either_version(rpc: Rpc, rpc03: Rpc) -> None:
    """What one version made the other reads."""
    task = await rpc.send("hello")
    assert await rpc.call("GetTask", {"id": task["id"]}) == task
    old = await rpc03.call("tasks/get", {"id": task["id"]})
    assert old["history"][0]["parts"] == [{"kind": "text", "text": "hello"}]


async def test_a_slash_at_the_end_is_the_same_endpoint(origin: str, http: httpx.AsyncClient) -> None:
    """Clients that join base URL and "/" are answered, not redirected."""
    body = {"jsonrpc": "2.0", "id": "a", "method": "GetTask", "params": {"id": "x"}}
    for url in (f"{origin}/api/a2a", f"{origin}/api/a2a/"):
        answer = await http.post(url, json=body, headers={"A2A-Version": "1.0"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32001)


async def test_http_json_answers_the_same_task(origin: str, http: httpx.AsyncClient, rpc: Rpc) -> None:
    """HTTP+JSON, which the card claims too, sends, reads and streams."""
    base, version = f"{origin}/api/a2a/rest", {"A2A-Version": "1.0"}
    body = {"message": message("hello", metadata={"skill": "echo", "n": 2})}
    task = (await http.post(f"{base}/message:send", json=body, headers=version)).json()["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["history"][0]["metadata"] == {"skill": "echo", "n": 2}
    answer = await http.get(f"{base}/tasks/{task['id']}", headers=version)
    assert answer.json() == task == await rpc.call("GetTask", {"id": task["id"]})
    assert answer.headers["content-type"] == "application/json"
    streamed = await http.post(f"{base}/message:stream", json=body, headers=version)
    assert [line for line in streamed.text.split("\n") if "statusUpdate" in line]
    missing = await http.get(f"{base}/tasks/none", headers=version)
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_numbers_in_metadata_leave_as_they_came(rpc: Rpc, rpc03: Rpc) -> None:
    """Whole numbers stay whole, large ones keep their digits, in both versions, streamed or not."""
    given: dict[str, Any] = {"skill": "echo", "a": 2, "big": 12345678901234567890, "f": 2.5, "l": [1, {"x": 3.0}]}
    params = {"message": message("hello", metadata=given)}
    for method in ("SendMessage", "SendStreamingMessage"):
        text = (await rpc.post(method, params)).text.replace(": ", ":")
        assert '"big":12345678901234567890' in text
        assert re.search(r'"a":2[,}]', text) and '"x":3.0' in text
    task = await rpc.send("hello", metadata=given)
    assert task["history"][0]["metadata"] == given
    old = await rpc03.post("tasks/get", {"id": task["id"]})
    assert old.json()["result"]["history"][0]["metadata"] == given
    assert '"big":12345678901234567890' in old.text


async def test_data_parts_are_kept_exactly(rpc: Rpc) -> None:
    """A data part's integers come back as integers."""
    part = {"data": {"n": 9007199254740993}}
    params = {"message": {**message("x", metadata={"skill": "echo"}), "parts": [part]}}
    task = (await rpc.call("SendMessage", params))["task"]
    assert task["history"][0]["parts"] == [part]
    assert task["artifacts"][0]["parts"] == [{"text": '{"n": 9007199254740993}'}]
