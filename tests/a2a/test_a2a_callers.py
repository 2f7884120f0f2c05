"""Whose task it is: another's looks missing, an anonymous one's id is its secret, the same request is one task."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

import pytest
from a2a.utils.task import ListTasksCursor, encode_list_tasks_cursor
from a2a_world import FixedKey, Rpc, Stage, a_runtime, incoming_text, message
from sqlalchemy import text

from ledger.accounts import ANONYMOUS, Caller
from ledger.database import Database
from ledger.vault import Vault
from tests.ledger.parts import LaterClock

AS_ALICE, AS_BOB = {"Authorization": "Bearer alice"}, {"Authorization": "Bearer bob"}


async def test_a_tenants_task_is_missing_to_others(rpc: Rpc) -> None:
    """Reading, cancelling, subscribing and writing to it look as if it were not there."""
    params = {"message": message("x", metadata={"skill": "slow"}), "configuration": {"returnImmediately": True}}
    task = (await rpc.call("SendMessage", params, **AS_ALICE))["task"]
    for headers in ({}, AS_BOB):
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            missing = await rpc.error(method, {"id": "task_" + "0" * 32}, **headers)
            assert await rpc.error(method, {"id": task["id"]}, **headers) == missing
            assert missing["code"] == -32001
        follow = {"message": message("y", "m2", taskId=task["id"])}
        assert (await rpc.error("SendMessage", follow, **headers))["code"] == -32001
    assert (await rpc.call("CancelTask", {"id": task["id"]}, **AS_ALICE))["id"] == task["id"]


async def test_an_anonymous_tasks_id_is_its_secret(rpc: Rpc) -> None:
    """Who has the id reads and cancels it; nobody is told the id."""
    asked = await rpc.send("what", skill="ask")
    assert (await rpc.call("GetTask", {"id": asked["id"]}, **AS_BOB))["id"] == asked["id"]
    for headers in ({}, AS_BOB):
        assert (await rpc.call("ListTasks", {}, **headers))["tasks"] == []
    assert (await rpc.call("CancelTask", {"id": asked["id"]}, **AS_BOB))["status"]["state"] == "TASK_STATE_CANCELED"


async def test_a_context_made_here_lists_its_tasks(rpc: Rpc) -> None:
    """A context's id is as secret as a task's, if this node made it; one that the client chose lists nothing."""
    task = await rpc.send("x")
    found = await rpc.call("ListTasks", {"contextId": task["contextId"]})
    assert [each["id"] for each in found["tasks"]] == [task["id"]]
    chosen = await rpc.send("x", message_id="m2", fields={"contextId": "mine"})
    assert chosen["contextId"] == "mine"
    assert (await rpc.call("ListTasks", {"contextId": "mine"}))["tasks"] == []


async def test_a_few_large_tasks_fill_a_page(rpc: Rpc) -> None:
    """A short question is not answered with all that was ever said."""
    for number in range(4):
        asked = {"message": message("x" * 900_000, f"m{number}", metadata={"skill": "echo"})}
        await rpc.call("SendMessage", asked, **AS_ALICE)
    first = await rpc.call("ListTasks", {}, **AS_ALICE)
    rest = await rpc.call("ListTasks", {"pageToken": first["nextPageToken"]}, **AS_ALICE)
    assert 0 < len(first["tasks"]) < 4 and first["totalSize"] == 4
    assert len({each["id"] for each in first["tasks"] + rest["tasks"]}) == 4


def token_of(at_ns: int, task_id: str) -> str:
    return encode_list_tasks_cursor(ListTasksCursor(at_ns, task_id))


async def test_lists_page_newest_first(rpc: Rpc) -> None:
    """Each of the tenant's tasks once, newest first, over pages; filters hold; artifacts only where asked for."""
    made = [
        (await rpc.call("SendMessage", {"message": message(str(n), f"m{n}", metadata={"skill": "echo"})}, **AS_ALICE))
        for n in range(5)
    ]
    ids = [each["task"]["id"] for each in made]
    seen: list[str] = []
    token = ""
    while True:
        page = await rpc.call("ListTasks", {"pageSize": 2, "pageToken": token}, **AS_ALICE)
        assert page["totalSize"] == 5 and not [each for each in page["tasks"] if "artifacts" in each]
        seen += [each["id"] for each in page["tasks"]]
        if not (token := page["nextPageToken"]):
            break
    assert seen == ids[::-1]
    none = await rpc.call("ListTasks", {"status": "TASK_STATE_WORKING"}, **AS_ALICE)
    assert none["tasks"] == []
    whole = await rpc.call("ListTasks", {"includeArtifacts": True, "historyLength": 0}, **AS_ALICE)
    assert whole["tasks"][0]["artifacts"] and not whole["tasks"][0].get("history")
    for odd in ("x", token_of(10**30, "task_x"), token_of(1, "\0"), base64.b64encode(b"[" * 90_000).decode()):
        assert (await rpc.error("ListTasks", {"pageToken": odd}, **AS_ALICE))["code"] == -32602
    assert (await rpc.error("ListTasks", {"pageSize": 101}, **AS_ALICE))["code"] == -32602


async def test_history_length_cuts_the_history(rpc: Rpc) -> None:
    """0: none; 1: the newest."""
    asked = await rpc.send("what", skill="ask", configuration={"historyLength": 0})
    assert "history" not in asked
    assert len((await rpc.call("GetTask", {"id": asked["id"], "historyLength": 1}))["history"]) == 1


@pytest.mark.parametrize("skill", ["echo", "slow", "ask"])
async def test_one_idempotency_key_is_one_task(rpc: Rpc, stage: Stage, database: Database, skill: str) -> None:
    """Twenty at once, free or priced, immediate or not: one task, also later; another body is refused."""
    stage.go.set()
    params = {"message": message("x", metadata={"skill": skill})}
    headers = {"Idempotency-Key": "k-1"}
    sent = [rpc.call("SendMessage", params, **headers) for _ in range(20)]
    assert len({each["task"]["id"] for each in await asyncio.gather(*sent)}) == 1
    retry = {"message": message("x", "another-id", metadata={"skill": skill})}
    again = (await rpc.call("SendMessage", retry, **headers))["task"]
    async with database.read() as session:
        found = (await (await session.connection()).execute(text("SELECT id FROM task"))).all()
    assert [again["id"]] == [task_id for (task_id,) in found]
    other = {"message": message("y", metadata={"skill": skill})}
    error = await rpc.error("SendMessage", other, **headers)
    assert error["data"][0]["metadata"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert (await rpc.call("SendMessage", params, **headers, **AS_ALICE))["task"]["id"] != again["id"]


async def test_a_key_that_made_nothing_answers_again(rpc: Rpc) -> None:
    """An equal message under a key finds the task that is open, each time; an answer that is a message keeps no key."""
    asked = {"message": message("x", str(uuid.uuid4()), metadata={"skill": "ask"})}
    task = (await rpc.call("SendMessage", asked))["task"]
    hello = {"message": message("x", metadata={"skill": "hello"})}
    for _ in range(2):
        assert (await rpc.call("SendMessage", asked, **{"Idempotency-Key": "k-3"}))["task"]["id"] == task["id"]
        answer = (await rpc.call("SendMessage", hello, **{"Idempotency-Key": "k-4"}))["message"]
        assert answer["parts"] == [{"text": "Hello x."}]


async def test_a_refused_request_does_not_use_up_its_key(rpc: Rpc) -> None:
    """A key under which nothing was made can be used again for the same body."""
    params = {"message": message("x", metadata={"skill": "fly"})}
    for _ in range(2):
        assert (await rpc.error("SendMessage", params, **{"Idempotency-Key": "k-2"}))["code"] == -32602


@pytest.mark.database
async def test_a_bare_message_id_is_one_task_while_it_is_open(database: Database) -> None:
    """Twenty equal messages with a UUID at two workers: one task; when it has ended, the same message is a new one."""
    stage = Stage()
    one, two = a_runtime(database, stage, owner="one"), a_runtime(database, stage, owner="two")
    asked = incoming_text("x", "slow", str(uuid.uuid4()))
    sent: list[Any] = [runtime.send(asked, ANONYMOUS, wait=False) for runtime in (one, two) for _ in range(10)]
    (task_id,) = {view["id"] for view in await asyncio.gather(*sent)}
    waiting = asyncio.create_task(two.send(asked, ANONYMOUS))
    stage.go.set()
    joined = await waiting
    assert joined["status"]["state"] == "completed"
    assert (await two.send(asked, ANONYMOUS))["id"] != task_id
    await one.close()
    await two.close()


@pytest.mark.parametrize("skill", ["slow", "ask"])
async def test_strangers_never_share_a_task(rpc: Rpc, skill: str) -> None:
    """The same text under an id that another could choose too, by callers nobody knows: to each a task of its own.

    Who is known, by key or as a payer, shares it with nobody else, so any id is one task there.
    """
    params = {
        "message": message("summarise", "a" * 21, metadata={"skill": skill}),
        "configuration": {"returnImmediately": True},
    }
    strangers = [(await rpc.call("SendMessage", params))["task"]["id"] for _ in range(2)]
    assert len(set(strangers)) == 2
    alices = [(await rpc.call("SendMessage", params, **AS_ALICE))["task"]["id"] for _ in range(2)]
    assert len(set(alices)) == 1 and alices[0] not in strangers


async def test_a_payer_that_is_known_repeats_a_short_id(database: Database, stage: Stage) -> None:
    """A proved address is somebody: its equal messages are one task, another's are another."""
    runtime = a_runtime(database, stage)
    first, second = (Caller(ANONYMOUS.tenant_id, None, frozenset(), payer) for payer in ("0x01", "0x02"))
    asked = incoming_text("x", "slow", "1")
    ids = [(await runtime.send(asked, caller, wait=False))["id"] for caller in (first, first, second)]
    assert ids[0] == ids[1] != ids[2]
    await runtime.close()


async def test_content_is_sealed_and_ends(database: Database, stage: Stage) -> None:
    """No text stands in a row; a day after its end the content is gone, and that the task was is still known."""

    clock = LaterClock()
    runtime = a_runtime(database, stage, clock=clock)
    view = await runtime.send(incoming_text("very private", "echo", "m1"), ANONYMOUS)
    async with database.read() as session:
        connection = await session.connection()
        rows = [
            repr((await connection.execute(text(f"SELECT * FROM {name}"))).all()) for name in ("task", "task_event")
        ]
        sealed = (await connection.execute(text("SELECT sealed FROM vault_items"))).scalars().all()
    assert "private" not in "".join(rows) and not [each for each in sealed if b"private" in bytes(each)]
    clock.later_s = 25 * 3600
    assert await Vault(database, clock, FixedKey()).delete_ended() == 1
    later = (await runtime.snapshot(view["id"], ANONYMOUS)).view
    assert later["status"]["state"] == "completed" and "history" not in later and "artifacts" not in later
    await runtime.close()
