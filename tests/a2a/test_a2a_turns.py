"""Several turns on one task, answers in parts, answers without a task, and how much history is shown."""

from __future__ import annotations

from typing import Any

import pytest
from a2a_world import PAYER, Rpc, Stage, TestGate, a_runtime, incoming_text, message, paid_message, paying
from test_a2a_streams import streaming

from agentnode.a2a import TaskRuntime
from ledger.accounts import ANONYMOUS
from ledger.database import Database


async def test_a_skill_that_asks_back_is_answered_on_the_same_task(rpc: Rpc, stage: Stage) -> None:
    """Input-required, the caller's next message, the skill again with what was said before, and its end."""
    first = await rpc.send("apple", "guess")
    assert first["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert first["status"]["message"]["parts"] == [{"text": "Which fruit?"}]
    second = await rpc.send("plum", "guess", "m2", fields={"taskId": first["id"]})
    assert second["status"]["state"] == "TASK_STATE_COMPLETED"
    assert (second["id"], second["contextId"]) == (first["id"], first["contextId"])
    assert second["status"]["message"]["parts"] == [{"text": "That is it."}]
    assert [work.text for work in stage.works] == ["apple", "plum"]
    assert [each["parts"] for each in stage.works[1].history] == [[{"text": "apple"}], [{"text": "Which fruit?"}]]
    assert (await rpc.error("SendMessage", {"message": message("x", "m3", taskId=first["id"])}))["code"] == -32004


async def test_the_same_words_again_are_one_turn(rpc: Rpc, stage: Stage) -> None:
    """A follow-up that is sent twice runs once; another one runs again."""
    task_id = (await rpc.send("apple", "guess"))["id"]
    pear = {"message": message("pear", "m2", taskId=task_id)}
    again = [(await rpc.call("SendMessage", pear))["task"] for _ in range(3)]
    assert {each["status"]["state"] for each in again} == {"TASK_STATE_INPUT_REQUIRED"}
    assert [work.text for work in stage.works] == ["apple", "pear"]


async def test_a_subscription_stays_open_while_the_task_waits(rpc: Rpc) -> None:
    """A stream of one message ends when its caller is needed; a subscription goes on to the end of the task."""
    asked = {"message": message("apple", metadata={"skill": "guess"})}
    async with streaming(rpc, "SendStreamingMessage", asked) as results:
        steps = [each async for each in results]
    assert steps[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    task_id = steps[0]["task"]["id"]
    async with streaming(rpc, "SubscribeToTask", {"id": task_id}) as subscribed:
        assert (await anext(subscribed))["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        for number, word in enumerate(("pear", "no")):
            await rpc.send(word, "guess", f"n{number}", fields={"taskId": task_id})
        states = [each["statusUpdate"]["status"]["state"] async for each in subscribed if "statusUpdate" in each]
    turn = ["TASK_STATE_WORKING", "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_WORKING", "TASK_STATE_REJECTED"]
    assert states == turn


async def test_what_is_paid_once_is_asked_back_for_nothing(database: Database, stage: Stage, gate: TestGate) -> None:
    """A paid task that needs its caller goes on without another payment, and a second one is refused."""
    runtime = a_runtime(database, stage, gate)
    asked = await runtime.send(incoming_text("apple", "paid-guess", "m1"), ANONYMOUS)
    waits = await runtime.send(paying(asked["id"]), ANONYMOUS)
    assert waits["status"]["message"]["parts"] == [{"text": "Which fruit?"}] and not gate.booked
    again = await runtime.send(paying(asked["id"]), ANONYMOUS)
    assert (again["status"]["state"], len(stage.works)) == ("input-required", 1)
    done = await runtime.send(incoming_text("plum", "paid-guess", "m2", task_id=asked["id"]), ANONYMOUS)
    assert done["status"]["state"] == "completed" and gate.booked == [asked["id"]]
    assert done["status"]["message"]["metadata"]["x402.payment.receipts"][0]["success"] is True
    assert [work.text for work in stage.works] == ["apple", "plum"] and gate.submissions == 2
    await runtime.close()


async def test_a_payer_ends_a_paid_task_that_asks_back(
    database: Database, rpc: Rpc, gate: TestGate, runtime: TaskRuntime
) -> None:
    """Proved: the price is its receipt's again, before the end is written. Who has only the id, or another wallet, may
    not; and what is at work is nobody's to stop."""
    asked = await runtime.send(incoming_text("apple", "paid-guess", "m1"), ANONYMOUS)
    await runtime.send(paying(asked["id"]), ANONYMOUS)
    params = {"id": asked["id"]}
    for nobody in ({}, {"SIGN-IN-WITH-X": "0xab"}, {"Authorization": "Bearer alice"}):
        assert (await rpc.error("CancelTask", params, **nobody))["code"] == -32002
    assert gate.given_back == []
    ended = await rpc.call("CancelTask", params, **{"SIGN-IN-WITH-X": PAYER})
    assert ended["status"]["state"] == "TASK_STATE_CANCELED"
    assert ended["status"]["message"]["metadata"]["x402.payment.receipts"][0]["success"] is True
    assert (gate.given_back, gate.booked) == ([asked["id"]], [])
    assert (await rpc.error("CancelTask", params, **{"SIGN-IN-WITH-X": PAYER}))["code"] == -32002


async def test_answers_in_parts(rpc: Rpc) -> None:
    """Data and files come as artefacts of their own, chunks of one are put together, numbers stay whole."""
    task = await rpc.send("parts!", "guess")
    artifacts: dict[str, Any] = {each["artifactId"]: each["parts"] for each in task["artifacts"]}
    assert artifacts["numbers"] == [{"data": {"n": 2}}]
    assert artifacts["file"] == [
        {"raw": "aGk=", "filename": "hi.txt", "mediaType": "text/plain"},
        {"url": "https://example.org/hi"},
    ]


@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage"])
async def test_a_direct_skill_answers_with_a_message(rpc: Rpc, method: str) -> None:
    """No task is made for it."""
    asked = {"message": message("Ada", metadata={"skill": "hello"}), "configuration": {}}
    async with streaming(rpc, method, asked) as results:
        if method == "SendMessage":
            answer = (await rpc.call(method, asked))["message"]
        else:
            answer = (await anext(results))["message"]
    assert (answer["role"], answer["parts"]) == ("ROLE_AGENT", [{"text": "Hello Ada."}])
    assert answer["contextId"] and "taskId" not in answer


@pytest.mark.parametrize(("asked", "shown"), [(None, 3), (0, 0), (1, 1), (2, 2), (9, 3)])
async def test_history_is_as_long_as_asked(rpc: Rpc, asked: int | None, shown: int) -> None:
    """The last messages come; none for 0; all of them where nothing is said."""
    task_id = (await rpc.send("apple", "guess"))["id"]
    length = {} if asked is None else {"historyLength": asked}
    rest = {"configuration": length} if length else {}
    sent = await rpc.send("plum", "guess", "m2", fields={"taskId": task_id}, **rest)
    got = await rpc.call("GetTask", {"id": task_id, **length})
    assert got["history"][-1:] == sent["history"][-1:] if shown else "history" not in got
    assert len(got.get("history", [])) == len(sent.get("history", [])) == shown
    refused = await rpc.error("GetTask", {"id": task_id, "historyLength": -1})
    assert refused["code"] == -32602


async def test_a_paid_message_is_no_turn(rpc: Rpc, stage: Stage) -> None:
    """What is worked on is what was asked, not what the payment's message says."""
    task_id = (await rpc.send("one", "ask"))["id"]
    await rpc.send("here is the money", "ask", "m2", metadata=paid_message(), fields={"taskId": task_id})
    assert [work.text for work in stage.works] == ["one"]
