"""The P402 dialect: its parts, its states, its errors and its payment methods, beside the official versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a_world import PAYER, SIGNATURE, Rpc, Stage, TestGate
from hypothesis import given
from hypothesis import strategies as st

from agentnode.a2a.dialects.p402 import is_p402


def said(text: str, skill: str = "echo", **fields: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": text}]
    return {"message": {"role": "user", "parts": parts, "metadata": {"skill": skill}, **fields}}


@pytest.fixture
def p402(rpc03: Rpc) -> Rpc:
    return rpc03


async def test_a_task_in_its_own_words(p402: Rpc, rpc: Rpc) -> None:
    """No message id is needed, twice is two tasks; parts have a `type`; the cost and the time stand in the metadata."""
    asked = {
        "message": {
            **said("hi")["message"],
            "parts": [{"type": "text", "text": "hi"}, {"type": "data", "data": {"n": 2}}],
        }
    }
    first, second = [(await p402.call("message/send", asked))["task"] for _ in range(2)]
    assert first["id"] != second["id"]
    assert (first["status"]["state"], first["metadata"]["cost_usd_exact"]) == ("completed", "0")
    assert first["artifacts"][0]["parts"] == [{"type": "text", "text": 'hi\n{"n": 2}'}]
    assert first["metadata"]["latency_ms"] >= 0
    # A task remembers its dialect: without a version it is shown in it, with one in that.
    assert (await p402.call("tasks/get", {"id": first["id"]}))["task"] == first
    assert (await p402.http.get(f"{p402.origin}/api/a2a/tasks/{first['id']}")).json() == {"task": first}
    assert (await rpc.call("GetTask", {"id": first["id"]}))["status"]["state"] == "TASK_STATE_COMPLETED"
    old = {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "x"}]}}
    old["message"]["metadata"] = {"skill": "echo"}
    task_id = (await p402.call("message/send", old))["id"]
    assert (await p402.call("tasks/get", {"id": task_id}))["status"]["state"] == "completed"


async def test_states_and_cancel(p402: Rpc, stage: Stage) -> None:
    """pending, cancelled with two l; a task that is not there has the shape of 0.3."""
    task = (await p402.call("message/send", said("apple", "guess")))["task"]
    assert (task["status"]["state"], task["status"]["message"]) == ("pending", "Which fruit?")
    assert (await p402.call("tasks/cancel", {"id": task["id"]}))["task"]["status"]["state"] == "cancelled"
    assert (await p402.error("tasks/get", {"id": "task_" + "0" * 32}))["code"] == -32001


async def test_a_priced_skill_is_paid_by_its_methods(p402: Rpc, gate: TestGate) -> None:
    """-32007 with the price and the task; payment-submitted pays and starts it; the result comes by tasks/get."""
    error = await p402.error("message/send", said("one two", "ask"))
    price = error["data"]
    assert (error["code"], price["schemes"][0]["amount"], price["schemes"][0]["network"]) == (
        -32007,
        "10000",
        "eip155:31337",
    )
    again = await p402.call("x402/payment-required", {"task_id": price["task_id"]})
    assert again["payment_id"] == price["payment_id"]
    pays = {"payment_id": price["payment_id"], "scheme": "exact", "signature": SIGNATURE}
    refused = await p402.error("x402/payment-submitted", {**pays, "authorization": {"from": PAYER, "nonce": "bad"}})
    assert (refused["code"], refused["data"]["error"]) == (-32007, "INVALID_SIGNATURE")
    paid = await p402.call("x402/payment-submitted", {**pays, "authorization": {"from": PAYER, "nonce": "0x01"}})
    assert paid["receipt"]["receipt_id"] == f"rcpt_{price['task_id']}"
    status = "processing"
    while status == "processing":
        task = (await p402.call("tasks/get", {"id": price["task_id"]}))["task"]
        status = task["status"]["state"]
    assert (status, task["metadata"]["cost_usd"]) == ("completed", 0.01)
    assert task["artifacts"][0]["parts"] == [{"type": "text", "text": "ONE TWO "}]
    done = await p402.call("x402/payment-completed", {"payment_id": price["payment_id"]})
    assert done["status"] == "settled" and list(gate.settled) == [price["task_id"]]


async def test_it_streams(p402: Rpc, stage: Stage) -> None:
    """At its own path, with the params alone or a whole request: the task, its pieces, the task at its end."""
    for body in (
        said("go", "tell"),
        {"jsonrpc": "2.0", "id": 2**70, "method": "message/stream", "params": said("go", "tell")},
    ):
        for chunk in ("a", "b", None):
            await stage.chunks.put(chunk)
        async with p402.http.stream("POST", f"{p402.origin}/api/a2a/stream", json=body, timeout=30) as answer:
            told = [json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: ")]
        assert {each["id"] for each in told} == {body.get("id")}
        frames = [each["result"] for each in told]
        assert frames[0]["task"]["id"] == frames[-1]["task"]["id"]
        assert "".join(frame["artifact"]["parts"][0]["text"] for frame in frames[1:-1]) == "ab"
        assert frames[-1]["task"]["status"]["state"] == "completed"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([{"type": "image", "text": "x"}], -32602),
        ([{"type": "text"}], -32602),
        ([{"type": "text", "text": "x"}, {"kind": "text", "text": "y"}], -32602),
        ([{}], -32602),
    ],
)
async def test_an_unknown_part_is_refused(p402: Rpc, parts: list[dict[str, Any]], code: int) -> None:
    """Of either dialect, though it carries a message id."""
    message = {"messageId": "m", "role": "user", "parts": parts, "metadata": {"skill": "echo"}}
    assert (await p402.error("message/send", {"message": message}))["code"] == code


async def test_a_key_is_remembered_here_too(p402: Rpc) -> None:
    """The same key and request come to one task; another body is refused."""
    first, second = [
        (await p402.call("message/send", said("x"), **{"Idempotency-Key": "k-1"}))["task"] for _ in range(2)
    ]
    assert first == second
    assert (await p402.error("message/send", said("y"), **{"Idempotency-Key": "k-1"}))["data"][
        "code"
    ] == "IDEMPOTENCY_CONFLICT"


_NAMES = st.sampled_from(["method", "params", "message", "parts", "type", "kind", "x"])


def _nested(inner: Any) -> Any:
    return st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4)


@given(st.recursive(st.none() | st.booleans() | st.just("message/send"), _nested))
def test_any_json_is_of_it_or_not(body: Any) -> None:
    """Nothing that a body may be breaks the question."""
    assert is_p402(body) in (True, False)
