"""Streams: each event as it happens, in order, without gap or repeat, to everybody who listens, until the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a_world import Rpc, Stage, TestGate, a_runtime, incoming_text, message, served

from agentnode.a2a import TaskRuntime
from agentnode.a2a.events import apply
from ledger.accounts import ANONYMOUS
from ledger.database import Database


@contextlib.asynccontextmanager
async def streaming(rpc: Rpc, method: str, params: dict[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The results of a stream, one by one."""

    async def results(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])["result"]

    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"A2A-Version": rpc.version} if rpc.version else {}
    async with rpc.http.stream("POST", f"{rpc.origin}/api/a2a", json=body, headers=headers, timeout=30) as answer:
        yield results(answer)


def told(text: str, message_id: str = "m1", skill: str = "tell") -> dict[str, Any]:
    return {"message": message(text, message_id, metadata={"skill": skill})}


def texts(steps: list[dict[str, Any]]) -> list[str]:
    return [step["artifactUpdate"]["artifact"]["parts"][0]["text"] for step in steps if "artifactUpdate" in step]


async def test_each_chunk_is_sent_as_it_comes(rpc: Rpc, stage: Stage) -> None:
    """A chunk reaches the client before the next one exists; the end comes last; read back, it is one text."""
    async with streaming(rpc, "SendStreamingMessage", told("go")) as results:
        first = await anext(results)
        assert first["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        assert (await anext(results))["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
        for index, chunk in enumerate("abc"):
            await stage.chunks.put(chunk)
            update = (await anext(results))["artifactUpdate"]
            assert (update["artifact"]["parts"], update.get("append", False)) == ([{"text": chunk}], index > 0)
        await stage.chunks.put(None)
        rest = [each async for each in results]
    assert rest[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    task = await rpc.call("GetTask", {"id": first["task"]["id"]})
    assert task["artifacts"][0]["parts"] == [{"text": "abc"}]


async def test_chunks_that_come_at_once_wait_for_no_later_one(rpc: Rpc, stage: Stage) -> None:
    """What was said while an earlier chunk was written is sent, though the skill then says nothing for long."""
    async with streaming(rpc, "SendStreamingMessage", told("go")) as results:
        await stage.begun.wait()
        for chunk in "abc":  # one a turn of the loop, so that the others come while the first is being written
            stage.chunks.put_nowait(chunk)
            await asyncio.sleep(0)
        seen = ""
        while seen != "abc":
            seen += "".join(texts([await anext(results)]))
        stage.chunks.put_nowait(None)
        assert [each async for each in results][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_subscriber_gets_the_rest(rpc: Rpc, stage: Stage) -> None:
    """Subscribe: the task so far, then every later event, and the end."""
    async with streaming(rpc, "SendStreamingMessage", told("go")) as results:
        task_id = (await anext(results))["task"]["id"]
        await stage.chunks.put("a")
        while "artifactUpdate" not in await anext(results):
            pass
        async with streaming(rpc, "SubscribeToTask", {"id": task_id}) as subscribed:
            snapshot = (await anext(subscribed))["task"]
            assert snapshot["artifacts"][0]["parts"] == [{"text": "a"}]
            # A number that no event had yet would be waited for behind the task's end.
            ahead = {"Last-Event-ID": "99"}
            assert (await rpc.error("SubscribeToTask", {"id": task_id}, **ahead))["code"] == -32602
            for chunk in ("b", None):
                await stage.chunks.put(chunk)
            rest = [each async for each in subscribed]
    assert texts(rest) == ["b"]
    assert rest[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert (await rpc.error("SubscribeToTask", {"id": task_id}))["code"] == -32004


async def test_a_0_3_stream_ends_with_final(rpc03: Rpc, stage: Stage) -> None:
    """0.3 clients see the same, in their words."""
    parts = [{"kind": "text", "text": "x"}]
    params = {"message": {"messageId": "m", "role": "user", "parts": parts, "metadata": {"skill": "tell"}}}
    for chunk in ("a", None):
        await stage.chunks.put(chunk)
    async with streaming(rpc03, "message/stream", params) as results:
        steps = [each async for each in results]
    assert [each["kind"] for each in steps][:2] == ["task", "status-update"]
    assert (steps[-1]["status"]["state"], steps[-1]["final"]) == ("completed", True)


async def test_who_hangs_up_stops_nothing(rpc: Rpc, stage: Stage) -> None:
    """The connection is cut: the task goes on to its end."""
    async with streaming(rpc, "SendStreamingMessage", told("go")) as results:
        task_id = (await anext(results))["task"]["id"]
    await stage.begun.wait()
    async with streaming(rpc, "SubscribeToTask", {"id": task_id}) as subscribed:
        await anext(subscribed)
        for chunk in ("a", None):
            await stage.chunks.put(chunk)
        assert [each async for each in subscribed][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_return_immediately_does_not_wait(rpc: Rpc, stage: Stage) -> None:
    """Without waiting the answer is a working task; waiting, the ended one."""
    asked = {**told("go", skill="slow"), "configuration": {"returnImmediately": True}}
    task = (await rpc.call("SendMessage", asked))["task"]
    assert task["status"]["state"] == "TASK_STATE_WORKING"
    stage.go.set()
    waited = (await rpc.call("SendMessage", told("other", "m2", "slow")))["task"]
    assert waited["artifacts"][0]["parts"] == [{"text": "done: other"}]


async def test_cancel_stops_the_work_at_once(rpc: Rpc, stage: Stage) -> None:
    """The skill is stopped while it waits; the stream hears of the end; cancelling again is refused."""
    async with streaming(rpc, "SendStreamingMessage", told("go", skill="slow")) as results:
        task_id = (await anext(results))["task"]["id"]
        await stage.begun.wait()
        canceled = await rpc.call("CancelTask", {"id": task_id})
        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"
        await stage.stopped.wait()
        assert [each async for each in results][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert (await rpc.error("CancelTask", {"id": task_id}))["code"] == -32002
    assert (await rpc.error("SendMessage", {"message": message("x", "m2", taskId=task_id)}))["code"] == -32004


@pytest.mark.database
async def test_another_worker_sees_every_event_once(database: Database, stage: Stage, http: httpx.AsyncClient) -> None:
    """A task runs on one worker; who subscribes at another gets what was and what comes, in order, without gap."""
    one = a_runtime(database, stage, owner="one")
    two = a_runtime(database, stage, owner="two", poll_s=0.02)
    async with served(one) as first, served(two) as second:
        async with streaming(Rpc(http, first), "SendStreamingMessage", told("go")) as results:
            task_id = (await anext(results))["task"]["id"]
            for number in range(10):
                await stage.chunks.put(f"{number},")
            seen = ""
            while not seen.endswith("9,"):
                seen += "".join(texts([await anext(results)]))
            async with streaming(Rpc(http, second), "SubscribeToTask", {"id": task_id}) as subscribed:
                here = (await anext(subscribed))["task"]["artifacts"][0]["parts"][0]["text"]
                for number in range(10, 30):
                    await stage.chunks.put(f"{number},")
                await stage.chunks.put(None)
                here += "".join(texts([each async for each in subscribed]))
        assert here == "".join(f"{number}," for number in range(30))


@pytest.mark.database
async def test_cancel_at_another_worker_stops_the_work_here(
    database: Database, stage: Stage, http: httpx.AsyncClient
) -> None:
    """The worker that has the task hears of its end and stops, without waiting for what the skill waits for."""
    one, two = a_runtime(database, stage, owner="one"), a_runtime(database, stage, owner="two")
    async with served(one) as first, served(two) as second:
        asked = {**told("go", skill="slow"), "configuration": {"returnImmediately": True}}
        task = (await Rpc(http, first).call("SendMessage", asked))["task"]
        await stage.begun.wait()
        await Rpc(http, second).call("CancelTask", {"id": task["id"]})
        await asyncio.wait_for(stage.stopped.wait(), 10)


@pytest.mark.database
async def test_a_terminal_state_is_final(database: Database) -> None:
    """Cancel, complete and append race: one terminal event in the log, the same in the stream, none behind it."""
    stage = Stage()
    one, two = a_runtime(database, stage, owner="one"), a_runtime(database, stage, owner="two", poll_s=0.01)

    async def round_of(number: int) -> None:
        asked = incoming_text(f"a b c {number}", "tell", f"m{number}")
        steps = one.stream(asked, ANONYMOUS)
        _, view = await anext(steps)
        for chunk in ("x", "y", None):
            stage.chunks.put_nowait(chunk)

        async def cancel(at: TaskRuntime) -> None:
            with contextlib.suppress(Exception):
                await at.cancel(view["id"], ANONYMOUS)

        async def listen() -> list[Any]:
            heard = []
            async for _, step in steps:
                apply(view, step)
                heard.append(step)
            return heard

        heard, *_ = await asyncio.gather(listen(), cancel(two), cancel(one))
        ends = [each for each in heard if each["kind"] == "status" and each["status"]["state"] != "working"]
        assert len(ends) == 1 and heard[-1] is ends[0]
        assert (await two.snapshot(view["id"], ANONYMOUS)).view == view
        while not stage.chunks.empty():
            stage.chunks.get_nowait()

    for number in range(25):
        await round_of(number)
    await one.close()
    await two.close()


async def test_the_gate_is_needed_for_nothing_free(database: Database, stage: Stage, gate: TestGate) -> None:
    """A free task never asks the toll gate."""
    runtime = a_runtime(database, stage, gate)
    view = await runtime.send(incoming_text("hello", "echo", "m"), ANONYMOUS)
    assert view["status"]["state"] == "completed" and not gate.asked
    await runtime.close()
