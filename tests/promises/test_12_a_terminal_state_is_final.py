"""Promise 12: a terminal state is final, and everybody hears it: who streams, who asks, and who is pushed to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from agentnode.a2a import TaskRuntime
from agentnode.a2a.events import apply
from agentnode.push import PushConfig
from ledger.accounts import ANONYMOUS
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import Conflict
from ledger.work import Rates
from tests.a2a.a2a_world import Stage, a_runtime, incoming_text
from tests.a2a.push_world import a_sender, receiving
from tests.rounds import LONG

ROUNDS = 1_000 if LONG else 30
ENDS = {"completed", "canceled", "failed", "rejected"}


@pytest.mark.database
async def test_cancel_complete_and_append_race(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    """Two workers and a skill race for each task's end: one terminal state in stream, store and push."""
    stage, clock = Stage(), SystemClock()
    one, two = (a_runtime(database, stage, owner=owner, poll_s=0.01) for owner in ("one", "two"))
    sender, outbox, _ = a_sender(database, clock, one, Rates(100_000, 100_000))
    ended: dict[str, str] = {}
    async with receiving() as receiver:
        for number in range(ROUNDS):
            task_id, end = await _race(one, two, stage, receiver.url, number)
            ended[task_id] = end
            while await sender.round():
                pass
    pushed: dict[str, list[str]] = {}
    for body in receiver.bodies:
        state = body["task"]["status"]["state"].removeprefix("TASK_STATE_").lower()
        pushed.setdefault(body["task"]["id"], []).append(state)
    for task_id, end in ended.items():
        assert pushed[task_id][-1] == end and sum(state in ENDS for state in pushed[task_id]) == 1
    assert await outbox.page(["public"], "dead") == []
    async with database.read() as session:
        query = "SELECT task_id, seq, state FROM task_event ORDER BY task_id, seq"
        rows = (await (await session.connection()).execute(text(query))).all()
    for task_id, end in ended.items():
        states = [row.state for row in rows if row.task_id == task_id]
        assert states[-1] == end and sum(state in ENDS for state in states) == 1
        assert [row.seq for row in rows if row.task_id == task_id] == list(range(1, len(states) + 1))
    await one.close()
    await two.close()
    record_property("figure", f"{ROUNDS} rounds: {dict(Counter(ended.values()))}")


async def _race(one: TaskRuntime, two: TaskRuntime, stage: Stage, url: str, number: int) -> tuple[str, str]:
    """A task that is completed and cancelled at once; its id and its end."""
    push = PushConfig(id="here", task_id="", url=url)
    steps = one.stream(incoming_text(f"{number}", "tell", f"m{number}", push=push), ANONYMOUS)
    _, view = await anext(steps)

    async def say(turns: int) -> None:
        for chunk in ("x", "y", None):
            for _ in range(turns):
                await asyncio.sleep(0)
            stage.chunks.put_nowait(chunk)

    async def cancel(at: TaskRuntime) -> None:
        with contextlib.suppress(Conflict):
            await at.cancel(view["id"], ANONYMOUS)

    async def listen() -> list[Any]:
        heard = []
        async for _, step in steps:
            apply(view, step)
            heard.append(step)
        return heard

    # The skill is done at once or much later, so that each of them wins some rounds.
    heard, *_ = await asyncio.gather(listen(), say(number % 5), cancel(two), cancel(one))
    ends = [step["status"]["state"] for step in heard if step["kind"] == "status" and step["status"]["state"] in ENDS]
    assert len(ends) == 1 and heard[-1]["status"]["state"] == ends[0]
    for runtime in (one, two):
        assert (await runtime.snapshot(view["id"], ANONYMOUS)).view["status"]["state"] == ends[0]
    while not stage.chunks.empty():
        stage.chunks.get_nowait()
    return view["id"], ends[0]
