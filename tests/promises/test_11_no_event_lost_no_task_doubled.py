"""Promise 11: no event is lost and no task doubled, whichever worker dies, whoever sends again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.database import Database
from tests.a2a.a2a_world import message
from tests.rounds import LONG

HOUSE = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.database] if LONG else []
STREAMS, ROUNDS = (20, 10) if LONG else (6, 1)
HEADERS = {"A2A-Version": "1.0"}


@contextlib.asynccontextmanager
async def worker(database: Database, owner: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    url = database.url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+asyncpg", "")
    command = [sys.executable, "-m", "tests.promises.counting_worker", url, owner]
    process = await asyncio.create_subprocess_exec(*command, cwd=HOUSE, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().split()[1], process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def read(http: httpx.AsyncClient, origin: str, method: str, params: Any, seen: list[Any], **headers: str) -> None:
    """The stream's events with their ids, until it ends or breaks."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    event_id = 0
    with contextlib.suppress(httpx.HTTPError):
        async with http.stream("POST", f"{origin}/api/a2a", json=body, headers={**HEADERS, **headers}) as answer:
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = int(value)
                elif name == "data":
                    answered = json.loads(value)
                    seen.append((event_id, answered.get("result", answered)))


def said(steps: list[Any]) -> str:
    """The text that the events add up to; a piece that does not append begins anew."""
    text = ""
    for _, step in steps:
        if "artifactUpdate" in step:
            update = step["artifactUpdate"]
            piece = update["artifact"]["parts"][0]["text"]
            text = text + piece if update.get("append") else piece
    return text


async def test_a_worker_dies_and_who_listens_goes_on_at_another(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    """With the last event's id: every number once, in order, over the death; and what they say is the task."""
    events = 0
    async with httpx.AsyncClient(timeout=60) as http, worker(database, "b") as (there, _):
        for number in range(ROUNDS):
            async with worker(database, f"a{number}") as (here, dying):
                streams: list[list[Any]] = [[] for _ in range(STREAMS)]
                asked = [{"message": message("x", str(uuid.uuid4()))} for _ in streams]
                reading = [
                    asyncio.create_task(read(http, here, "SendStreamingMessage", params, seen))
                    for params, seen in zip(asked, streams, strict=True)
                ]
                while any(len(s) < 10 and not r.done() for s, r in zip(streams, reading, strict=True)):
                    await asyncio.sleep(0.01)
                dying.send_signal(signal.SIGKILL)
                await asyncio.gather(*reading)
            events += sum([await _goes_on(http, there, seen) for seen in streams])
    record_property("figure", f"{ROUNDS * STREAMS} streams over a death, {events} events, each once")


async def _goes_on(http: httpx.AsyncClient, origin: str, seen: list[Any]) -> int:
    task_id, last = seen[0][1]["task"]["id"], seen[-1][0]
    rest: list[Any] = []
    await read(http, origin, "SubscribeToTask", {"id": task_id}, rest, **{"Last-Event-ID": str(last)})
    whole = [*seen, *rest]
    numbers = [number for number, _ in whole]
    assert numbers == list(range(1, len(numbers) + 1))
    assert whole[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task_id}}
    task = (await http.post(f"{origin}/api/a2a", json=body, headers=HEADERS)).json()["result"]
    assert task["artifacts"][0]["parts"][0]["text"] == said(whole) == "".join(f"{n}," for n in range(40))
    again: list[Any] = []
    await read(http, origin, "SubscribeToTask", {"id": task_id}, again, **{"Last-Event-ID": "4"})
    assert again == whole[4:]
    return len(whole)


async def test_sent_again_is_one_task(database: Database) -> None:
    """Twenty times in parallel at two workers: one task by its key, and one by its message's id while it is open."""

    async def send(http: httpx.AsyncClient, origin: str, params: dict[str, Any], **headers: str) -> str:
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
        answer = (await http.post(f"{origin}/api/a2a", json=body, headers={**HEADERS, **headers})).json()
        return str(answer["result"]["task"]["id"])

    at_once = {"returnImmediately": True}
    async with httpx.AsyncClient(timeout=60) as http:
        async with worker(database, "a") as (one, _), worker(database, "b") as (two, _):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            keyed = [{"message": message("x", f"m{n}"), "configuration": at_once} for n in range(20)]
            ids = await asyncio.gather(
                *(send(http, (one, two)[n % 2], params, **key) for n, params in enumerate(keyed))
            )
            assert len(set(ids)) == 1
            bare = {"message": message("x", str(uuid.uuid4())), "configuration": at_once}
            ids = await asyncio.gather(*(send(http, (one, two)[n % 2], bare) for n in range(20)))
            assert len(set(ids)) == 1
