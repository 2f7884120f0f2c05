"""Pushes: each change of a status is told in order, signed; again until it arrives; never inside; to a measure."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a_world import ALICE, Rpc, Stage, TestGate, a_runtime, ended, incoming_text, message, pushes
from push_world import Receiver, a_sender, receiving

from agentnode.a2a import TaskRuntime
from agentnode.push import PushConfig
from ledger.accounts import ANONYMOUS
from ledger.database import Database
from ledger.work import LetterMissing, Rates
from tests.ledger.parts import LaterClock
from trust.signatures import jws
from trust.web import GuardedClient


@pytest.fixture
def clock() -> LaterClock:
    return LaterClock()


@pytest.fixture
async def runtime(database: Database, stage: Stage, gate: TestGate, clock: LaterClock) -> TaskRuntime:
    return a_runtime(database, stage, gate, clock=clock)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as there:
        yield there


async def told_of(runtime: TaskRuntime, url: str, text: str = "x", skill: str = "slow", **config: Any) -> str:
    """A task of Alice's that is told of; its id."""
    push = PushConfig(id="here", task_id="", url=url, **config)
    asked = incoming_text(text, skill, f"m-{text}", push=push)
    view = await runtime.send(asked, ALICE, wait=skill not in ("slow", "tell"))
    task_id: str = view["id"]
    return task_id


@pytest.mark.database
async def test_each_change_of_status_is_told_in_order(
    database: Database, runtime: TaskRuntime, receiver: Receiver, clock: LaterClock, stage: Stage
) -> None:
    """The whole task at each, with the caller's token and credentials, under an id, signed by the node's key."""
    sender, outbox, keys = a_sender(database, clock, runtime)
    task_id = await told_of(runtime, receiver.url, token="tok", scheme="Bearer", credentials="secret")
    await sender.round()
    stage.go.set()
    await ended(runtime, task_id, ALICE)
    while await sender.round():
        pass
    assert receiver.states == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
    assert receiver.bodies[-1]["task"]["artifacts"][0]["parts"] == [{"text": "done: x"}]
    sent = receiver.headers[-1]
    assert (sent["authorization"], sent["x-a2a-notification-token"]) == ("Bearer secret", "tok")
    claims = jws.verify(sent["x-a2a-signature"], jwks=keys.jwks(), typ="a2a-push+jwt")
    assert claims["sha256"] == hashlib.sha256(receiver.raw[-1]).hexdigest()
    assert (claims["jti"], claims["aud"]) == (sent["x-a2a-delivery-id"], receiver.url)
    assert len({each["x-a2a-delivery-id"] for each in receiver.headers}) == 2
    assert len(await outbox.page(["alice"], "delivered")) == 2
    await runtime.close()


@pytest.mark.database
async def test_what_does_not_arrive_is_tried_again_in_order(
    database: Database, runtime: TaskRuntime, receiver: Receiver, clock: LaterClock
) -> None:
    """With growing waits, under the same id; what comes behind it waits."""
    sender, _, _ = a_sender(database, clock, runtime)
    receiver.answers = [500, 429, 200, 200]
    await told_of(runtime, receiver.url, "plum", "guess")
    tried: list[int] = []
    for shift in (0, 1, 3, 11, 14):
        clock.later_s = shift
        while await sender.round():
            pass
        tried.append(len(receiver.bodies))
    assert tried == [1, 1, 2, 2, 4]
    ids = [each["x-a2a-delivery-id"] for each in receiver.headers]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert [each["x-a2a-delivery-attempt"] for each in receiver.headers] == ["1", "2", "3", "1"]
    assert receiver.states == ["TASK_STATE_WORKING"] * 3 + ["TASK_STATE_COMPLETED"]
    await runtime.close()


async def test_a_dead_letter_is_seen_and_tried_again(
    database: Database, runtime: TaskRuntime, receiver: Receiver, clock: LaterClock
) -> None:
    """After eight attempts it is dead, its tenant sees why, and can have it sent again; what is behind it goes on."""
    sender, outbox, _ = a_sender(database, clock, runtime)
    receiver.answers = [503] * 8
    await told_of(runtime, receiver.url, "plum", "guess")
    for hour in range(20):
        clock.later_s = hour * 3600
        for _ in range(5):
            await sender.round()
            clock.later_s += 61
    dead = await outbox.page(["alice"], "dead")
    assert [(each.problem, each.attempts) for each in dead] == [("HTTP 503", 8)]
    assert receiver.states == ["TASK_STATE_WORKING"] * 8 + ["TASK_STATE_COMPLETED"]
    with pytest.raises(LetterMissing):
        await outbox.revive(["bob"], dead[0].id)
    await outbox.revive(["alice"], dead[0].id)
    await sender.round()
    assert receiver.headers[-1]["x-a2a-delivery-id"] == dead[0].id and await outbox.page(["alice"], "dead") == []
    await runtime.close()


@pytest.mark.parametrize("url", ["http://127.0.0.2/x", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "ftp://a.b/"])
async def test_no_push_leads_inside(rpc: Rpc, url: str) -> None:
    """A URL that leads inside is refused when it is handed in, with the task that carries it."""
    params = {"message": message("x", metadata={"skill": "echo"})}
    inline = {**params, "configuration": {"taskPushNotificationConfig": {"url": url}}}
    assert (await rpc.error("SendMessage", inline))["code"] == -32602
    task_id = (await rpc.send("x", message_id="m2"))["id"]
    create = {"taskId": task_id, "url": url}
    error = await rpc.error("CreateTaskPushNotificationConfig", create)
    assert (error["code"], error["data"][0]["metadata"]["code"]) == (-32602, "ADDRESS_REFUSED")


@pytest.mark.parametrize("odd", [{"token": "é"}, {"authentication": {"scheme": "Bearer", "credentials": "é"}}])
async def test_what_no_header_can_carry_is_refused(rpc: Rpc, odd: dict[str, Any]) -> None:
    """It would fail at each attempt, and be given up at none."""
    config = {"url": "http://127.0.0.1:1/", **odd}
    params = {"message": message("x", metadata={"skill": "echo"})}
    inline = {**params, "configuration": {"taskPushNotificationConfig": config}}
    assert "ASCII" in (await rpc.error("SendMessage", inline))["message"]


async def test_a_name_that_moves_inside_is_not_told(
    database: Database, stage: Stage, gate: TestGate, receiver: Receiver, clock: LaterClock
) -> None:
    """Checked again at each connection: the letter is dead at once, and says why."""
    port, where = receiver.url.split(":")[2].split("/")[0], ["93.184.216.34"]

    async def resolve(_host: str, _port: int) -> list[str]:
        return where

    web = GuardedClient(resolve=resolve)
    runtime = a_runtime(database, stage, gate, clock=clock, pushes=pushes(database, clock, web))
    sender, outbox, _ = a_sender(database, clock, runtime, web=web)
    await told_of(runtime, f"http://moves.example:{port}/hook", "plum", "guess")
    where[0] = "127.0.0.1"
    while await sender.round():
        pass
    assert {each.problem for each in await outbox.page(["alice"], "dead")} == {"ADDRESS_REFUSED"}
    assert receiver.bodies == []
    await runtime.close()


@pytest.mark.database
async def test_no_host_is_told_more_than_its_measure(
    database: Database, runtime: TaskRuntime, receiver: Receiver, clock: LaterClock
) -> None:
    """A rate per host across tenants and workers: what is over it waits for the next minute, and none is lost."""
    senders = [a_sender(database, clock, runtime, Rates(tenant=100, host=3))[0] for _ in range(2)]
    for number in range(4):
        caller = ALICE if number % 2 else ANONYMOUS
        push = PushConfig("here", "", receiver.url)
        await runtime.send(incoming_text("plum", "guess", f"m{number}", push=push), caller)
    counted = []
    for minute in range(4):
        clock.later_s = 60 * minute
        for _ in range(3):
            for sender in senders:
                await sender.round()
        counted.append(len(receiver.bodies))
    assert counted == [3, 6, 8, 8] or counted[0] < 3  # unless the minute ended while it ran
    assert len({each["x-a2a-delivery-id"] for each in receiver.headers}) == 8
    await runtime.close()


async def test_configurations_are_the_tasks_callers(rpc: Rpc, receiver: Receiver) -> None:
    """Create, get, list, delete; again deleted is nothing; another caller's task is missing; an unknown id too."""
    as_alice = {"Authorization": "Bearer alice"}
    params = {"message": message("x", metadata={"skill": "echo"})}
    task_id = (await rpc.call("SendMessage", params, **as_alice))["task"]["id"]
    made = await rpc.call("CreateTaskPushNotificationConfig", {"taskId": task_id, "url": receiver.url}, **as_alice)
    assert (made["taskId"], made["url"]) == (task_id, receiver.url)
    one = {"taskId": task_id, "id": made["id"]}
    assert await rpc.call("GetTaskPushNotificationConfig", one, **as_alice) == made
    assert (await rpc.call("ListTaskPushNotificationConfigs", {"taskId": task_id}, **as_alice))["configs"] == [made]
    for method in ("CreateTaskPushNotificationConfig", "ListTaskPushNotificationConfigs"):
        assert (await rpc.error(method, {"taskId": task_id, "url": receiver.url}))["code"] == -32001
    for _ in range(2):
        await rpc.post("DeleteTaskPushNotificationConfig", one, **as_alice)
    assert (await rpc.error("GetTaskPushNotificationConfig", one, **as_alice))["code"] == -32001


async def test_0_3_is_told_in_its_own_words(
    rpc03: Rpc, receiver: Receiver, database: Database, clock: LaterClock, runtime: TaskRuntime
) -> None:
    """A configuration without an id is called `default`; what is told is a 0.3 task; deleting answers null."""
    said = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "apple"}]}
    said["metadata"] = {"skill": "guess"}  # type: ignore[assignment]
    task_id = (await rpc03.call("message/send", {"message": said}))["id"]
    config = {"taskId": task_id, "pushNotificationConfig": {"url": receiver.url}}
    made = await rpc03.call("tasks/pushNotificationConfig/set", config)
    assert made["pushNotificationConfig"]["id"] == "default"
    assert await rpc03.call("tasks/pushNotificationConfig/get", {"id": task_id}) == made
    said = {**said, "messageId": "m2", "taskId": task_id, "parts": [{"kind": "text", "text": "plum"}]}
    await rpc03.call("message/send", {"message": said})
    sender, _, _ = a_sender(database, clock, runtime)
    while await sender.round():
        pass
    assert [(each["kind"], each["status"]["state"]) for each in receiver.bodies] == [
        ("task", "working"),
        ("task", "completed"),
    ]
    delete = {"id": task_id, "pushNotificationConfigId": "default"}
    assert (await rpc03.post("tasks/pushNotificationConfig/delete", delete)).json()["result"] is None


@pytest.mark.database
async def test_a_letter_is_not_lost_with_its_worker(
    database: Database, runtime: TaskRuntime, receiver: Receiver, clock: LaterClock
) -> None:
    """A worker that took it and died leaves it to another, a minute later, under the same id."""
    first, outbox, _ = a_sender(database, clock, runtime)
    await told_of(runtime, receiver.url, "plum", "guess")
    taken = await outbox.take()
    assert len(taken) == 1 and await first.round() == 0
    clock.later_s = 61
    while await first.round():
        pass
    assert receiver.states == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
    assert receiver.headers[0]["x-a2a-delivery-id"] == taken[0].id
    await runtime.close()


async def test_an_equal_message_makes_one_configuration(rpc: Rpc, receiver: Receiver, http: httpx.AsyncClient) -> None:
    """A retry of a message with a configuration without an id comes to the same task, and one configuration."""
    asked = {
        "message": message("x", "m" * 30, metadata={"skill": "slow"}),
        "configuration": {"taskPushNotificationConfig": {"url": receiver.url}, "returnImmediately": True},
    }
    ids = {(await rpc.call("SendMessage", asked))["task"]["id"] for _ in range(3)}
    assert len(ids) == 1
    assert len((await rpc.call("ListTaskPushNotificationConfigs", {"taskId": ids.pop()}))["configs"]) == 1
