"""A priced skill: asked for its price, paid, worked on, with the x402 extension's metadata at each step."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from a2a_world import PAYER, SIGNATURE, Rpc, Stage, TestGate, a_runtime, message, paid_message, served
from sqlalchemy import text

from agentnode.a2a import TaskRuntime
from agentnode.payments import X402_EXTENSION_URIS
from ledger.clock import SystemClock
from ledger.database import Database

V02, V01, TAG = X402_EXTENSION_URIS


def metadata_of(task: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = task["status"]["message"]["metadata"]
    return metadata


def payment(task: dict[str, Any], nonce: str = "0x01", message_id: str = "pay") -> dict[str, Any]:
    """The client's paying message, as the reference client sends it: with no context id."""
    return {"message": message("payment", message_id, taskId=task["id"], metadata=paid_message(nonce))}


async def test_a_paid_task_walks_from_price_to_answer(rpc: Rpc, gate: TestGate, stage: Stage) -> None:
    """input-required with the requirement, then the payment, then completed with the receipt."""
    asked = await rpc.send("what is it", skill="ask")
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    told = metadata_of(asked)
    assert told["x402.payment.status"] == "payment-required"
    assert told["x402.payment.required"]["accepts"][0]["amount"] == "10000"
    assert told["x402.payment.required"]["accepts"][0]["maxTimeoutSeconds"] == 300
    done = (await rpc.call("SendMessage", payment(asked)))["task"]
    assert (done["id"], done["status"]["state"]) == (asked["id"], "TASK_STATE_COMPLETED")
    assert done["artifacts"][0]["parts"] == [{"text": "WHAT IS IT "}]
    ended = metadata_of(done)
    assert ended["x402.payment.status"] == "payment-completed"
    assert [each["success"] for each in ended["x402.payment.receipts"]] == [True]
    (work,) = stage.works
    assert (work.revenue_usd_nanos, work.receipt_id) == (10_000_000, f"rcpt_{asked['id']}")
    said = [each["metadata"]["x402.payment.status"] for each in done["history"][1:]]
    assert said == ["payment-required", "payment-submitted", "payment-verified"]


async def test_a_task_keeps_only_so_many_payments_that_do_not_pay(rpc: Rpc, gate: TestGate) -> None:
    """Each is kept with what its message says, and read whenever the task is."""
    asked = await rpc.send("what is it", skill="ask")
    answer: dict[str, Any] = {}
    while "error" not in answer:
        assert gate.submissions < 130
        answer = (await rpc.post("SendMessage", payment(asked, "bad", f"pay{gate.submissions}"))).json()
    assert answer["error"]["data"][0]["metadata"]["param"] == "message.taskId"


async def test_absent_skill_is_ask(rpc: Rpc) -> None:
    """A message that names no skill asks."""
    task = (await rpc.call("SendMessage", {"message": message("what")}))["task"]
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


async def test_the_walk_in_0_3(rpc03: Rpc) -> None:
    """A 0.3 client gets version 1 objects under the old URI, whole numbers whole, and its header back."""

    def said(text: str, metadata: dict[str, Any], **ids: str) -> dict[str, Any]:
        parts = [{"kind": "text", "text": text}]
        return {"message": {"messageId": text, "role": "user", "parts": parts, "metadata": metadata, **ids}}

    answer = await rpc03.post("message/send", said("what", {"skill": "ask"}), **{"X-A2A-Extensions": V01})
    assert answer.headers["x-a2a-extensions"] == V01
    asked = answer.json()["result"]
    assert asked["status"]["state"] == "input-required"
    required = metadata_of(asked)["x402.payment.required"]
    assert (required["x402Version"], required["error"]) == (1, "")
    assert re.search(r'"maxTimeoutSeconds":300[,}]', answer.text)
    done = await rpc03.call("message/send", said("pay", paid_message(), taskId=asked["id"]))
    assert done["status"]["state"] == "completed"
    assert metadata_of(done)["x402.payment.receipts"][0]["network"] == "base-sepolia"


@pytest.mark.parametrize(
    ("activated", "version"), [({}, 2), ({"A2A-Extensions": TAG}, 2), ({"A2A-Extensions": V02}, 1)]
)
async def test_the_activated_uri_chooses_the_objects_version(rpc: Rpc, activated: dict[str, str], version: int) -> None:
    """What was activated is echoed, and the requirement is in the version that its clients read."""
    answer = await rpc.post("SendMessage", {"message": message("what")}, **activated)
    assert metadata_of(answer.json()["result"]["task"])["x402.payment.required"]["x402Version"] == version
    assert answer.headers.get("a2a-extensions") == activated.get("A2A-Extensions")


async def test_a_refused_payment_leaves_the_task_payable(rpc: Rpc, gate: TestGate) -> None:
    """payment-failed with the requirement again, in the same state; a right payload still pays."""
    asked = await rpc.send("what", skill="ask")
    refused = (await rpc.call("SendMessage", payment(asked, nonce="bad")))["task"]
    assert refused["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    told = metadata_of(refused)
    assert (told["x402.payment.status"], told["x402.payment.error"]) == ("payment-failed", "INVALID_SIGNATURE")
    assert told["x402.payment.receipts"][0]["success"] is False
    assert told["x402.payment.required"]["accepts"][0]["amount"] == "10000"
    done = (await rpc.call("SendMessage", payment(asked)))["task"]
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_declined_payment_ends_the_task(rpc: Rpc, gate: TestGate) -> None:
    """payment-rejected by the client: failed, and the requirement is void."""
    asked = await rpc.send("what", skill="ask")
    declined = {"x402.payment.status": "payment-rejected"}
    params = {"message": message("no", "m2", taskId=asked["id"], metadata=declined)}
    task = (await rpc.call("SendMessage", params))["task"]
    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert metadata_of(task) == declined
    assert gate.rejected == {asked["id"]}
    assert (await rpc.error("SendMessage", payment(asked)))["code"] == -32004


async def test_an_expired_quote_fails_the_task(database: Database, stage: Stage, http: httpx.AsyncClient) -> None:
    """Nobody paid in time: the task fails by itself, with the extension's code, and can no longer be paid."""
    gate = TestGate(SystemClock(), life_s=0.2)
    async with served(a_runtime(database, stage, gate)) as origin:
        rpc = Rpc(http, origin)
        asked = await rpc.send("what", skill="ask")
        body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": asked["id"]}}
        streamed = await http.post(f"{origin}/api/a2a", json=body, headers={"A2A-Version": "1.0"})
        assert "EXPIRED_PAYMENT" in streamed.text
        task = await rpc.call("GetTask", {"id": asked["id"]})
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert metadata_of(task)["error"]["code"] == "QUOTE_EXPIRED"
        assert (await rpc.error("SendMessage", payment(asked)))["code"] == -32004


async def test_an_unclear_settlement_keeps_the_task_until_it_is_known(rpc: Rpc, gate: TestGate) -> None:
    """While nobody knows whether the money moved, the task works; then the work is done."""
    asked = await rpc.send("what", skill="ask")
    params = {**payment(asked, nonce="slow"), "configuration": {"returnImmediately": True}}
    waits = (await rpc.call("SendMessage", params))["task"]
    assert waits["status"]["state"] == "TASK_STATE_WORKING"
    assert metadata_of(waits) == {"x402.payment.status": "payment-submitted"}
    assert (await rpc.error("CancelTask", {"id": asked["id"]}))["code"] == -32002
    gate.pending.set()
    done = (await rpc.call("SendMessage", payment(asked, nonce="slow")))["task"]
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_one_payment_buys_one_run_however_often_it_is_sent(rpc: Rpc, gate: TestGate, stage: Stage) -> None:
    """The same payload fifty times at once: one run, and everybody gets its answer."""
    asked = await rpc.send("what", skill="ask")
    sent = [rpc.call("SendMessage", payment(asked, message_id=f"pay{each}")) for each in range(50)]
    tasks = [each["task"] for each in await asyncio.gather(*sent)]
    assert {task["status"]["state"] for task in tasks} == {"TASK_STATE_COMPLETED"}
    assert len(stage.works) == 1
    again = (await rpc.call("SendMessage", payment(asked, message_id="later")))["task"]
    assert again["status"]["state"] == "TASK_STATE_COMPLETED" and len(stage.works) == 1


async def test_a_second_payer_is_refused(rpc: Rpc, gate: TestGate, stage: Stage) -> None:
    """Two payers at once: the first buys the work, the other hears that it was not charged."""
    asked = await rpc.send("what", skill="paid-slow")
    first = asyncio.create_task(rpc.call("SendMessage", payment(asked, "0x01")))
    await stage.begun.wait()
    refused = await rpc.error("SendMessage", payment(asked, "0x02", "other"))
    assert (refused["code"], refused["data"][0]["metadata"]["code"]) == (-32004, "DUPLICATE_NONCE")
    stage.go.set()
    assert (await first)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_failed_skill_leaves_the_receipt(rpc: Rpc) -> None:
    """The work broke after it was paid: failed with a machine code, the receipt beside it, nothing of the cause."""
    asked = await rpc.send("what", skill="paid-broken")
    task = (await rpc.call("SendMessage", payment(asked)))["task"]
    assert task["status"]["state"] == "TASK_STATE_FAILED"
    told = metadata_of(task)
    assert told["error"]["code"] == "SKILL_FAILED"
    assert told["x402.payment.receipts"][0]["success"] is True
    assert "secret" not in json.dumps(task["status"])


async def test_paid_work_cannot_be_cancelled(rpc: Rpc, stage: Stage) -> None:
    """Who has the id may cancel until the payment is on the way, not after."""
    asked = await rpc.send("what", skill="paid-slow")
    paying = asyncio.create_task(rpc.call("SendMessage", payment(asked)))
    await stage.begun.wait()
    assert (await rpc.error("CancelTask", {"id": asked["id"]}))["code"] == -32002
    stage.go.set()
    assert (await paying)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_an_unpaid_task_can_be_cancelled(rpc: Rpc, gate: TestGate) -> None:
    """A cancelled quote is void at the gate too."""
    asked = await rpc.send("what", skill="ask")
    assert (await rpc.call("CancelTask", {"id": asked["id"]}))["status"]["state"] == "TASK_STATE_CANCELED"
    assert gate.rejected == {asked["id"]}


async def test_no_signature_is_kept_or_echoed(rpc: Rpc, database: Database, gate: TestGate) -> None:
    """The payload with its signature is in no answer, in no later reading, and in no column."""
    asked = await rpc.send("what", skill="ask")
    answers = [(await rpc.post("SendMessage", payment(asked, nonce))).text for nonce in ("bad", "0x01")]
    answers.append((await rpc.post("GetTask", {"id": asked["id"]})).text)
    async with database.read() as session:
        connection = await session.connection()
        tables = [text(f"SELECT * FROM {table}") for table in ("task", "task_event", "vault_items")]
        answers += [repr((await connection.execute(rows)).all()) for rows in tables]
    assert not [each for each in answers if SIGNATURE in each]
    assert PAYER in answers[3]


async def test_a_node_without_a_chain_refuses_before_a_task_exists(
    database: Database, stage: Stage, http: httpx.AsyncClient
) -> None:
    """A priced skill answers CHAIN_UNAVAILABLE, a free one works, and no task is left behind."""
    async with served(a_runtime(database, stage, gate=None)) as origin:
        rpc = Rpc(http, origin)
        error = await rpc.error("SendMessage", {"message": message("what", metadata={"skill": "ask"})})
        assert error["data"][0]["metadata"]["code"] == "CHAIN_UNAVAILABLE"
        async with database.read() as session:
            assert (await (await session.connection()).execute(text("SELECT count(*) FROM task"))).scalar() == 0
        assert (await rpc.send("hello"))["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_payment_must_name_its_task(rpc: Rpc) -> None:
    """A payload on a message without a task id pays nothing."""
    error = await rpc.error("SendMessage", {"message": message("x", metadata=paid_message())})
    assert error["code"] == -32602


async def test_the_gate_is_told_where_and_what(rpc: Rpc, gate: TestGate, runtime: TaskRuntime) -> None:
    """The requirement names the endpoint, the skill's words and a hash of the input."""
    first = await rpc.send("one", skill="ask", message_id="a")
    second = await rpc.send("two", skill="ask", message_id="b")
    asked, other = gate.asked[first["id"]], gate.asked[second["id"]]
    assert (asked.resource, asked.price_usd_nanos) == ("http://node/api/a2a", 10_000_000)
    assert asked.input_hash != other.input_hash and len(asked.input_hash) == 64
