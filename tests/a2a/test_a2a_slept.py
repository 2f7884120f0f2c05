"""A worker sleeps past its lease and another one ends its paid task: what the first one then does moves no money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from a2a_world import Stage, TestGate, a_runtime, incoming_text, paying

from agentnode.a2a.skills import Work
from ledger.accounts import ANONYMOUS
from ledger.database import Database
from tests.ledger.parts import LaterClock


class Breaks(Stage):
    async def slow(self, work: Work) -> str:
        await super().slow(work)
        raise RuntimeError("broken")


@pytest.mark.database
@pytest.mark.parametrize(
    ("first", "second", "ended"), [(Breaks, Stage, "completed"), (Stage, Breaks, "failed")], ids=["fails", "is done"]
)
async def test_who_slept_neither_gives_back_nor_takes(
    database: Database, first: type[Stage], second: type[Stage], ended: str
) -> None:
    """It fails after the other was done: the price stays. It is done after the other failed: it is the payer's."""
    clock, slept, awake = LaterClock(), first(), second()
    gate = TestGate(clock)
    one, two = a_runtime(database, slept, gate, "one", clock), a_runtime(database, awake, gate, "two", clock)
    task: dict[str, Any] = await one.send(incoming_text("hello", "paid-slow", "m1"), ANONYMOUS)
    sent = asyncio.create_task(one.send(paying(task["id"]), ANONYMOUS))
    await slept.begun.wait()
    clock.later_s = 300
    awake.go.set()
    await two.recovery.tick()
    await asyncio.gather(*two._leases._jobs.values())
    assert (await two.snapshot(task["id"], ANONYMOUS)).view["status"]["state"] == ended
    moved = (list(gate.booked), list(gate.given_back))
    assert moved == (([task["id"]], []) if ended == "completed" else ([], [task["id"]]))
    slept.go.set()
    await asyncio.gather(*one._leases._jobs.values(), return_exceptions=True)
    assert (gate.booked, gate.given_back) == moved
    await asyncio.gather(one.close(), two.close())
    await asyncio.gather(sent, return_exceptions=True)
