"""A worker stops while a payment is verified, and the verification outlives it: who is charged gets the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from a2a_world import Stage, TestGate, a_runtime, incoming_text, paying

from agentnode.a2a import TaskEnded, TaskNotStoppable, TaskRuntime
from ledger.accounts import ANONYMOUS
from ledger.database import Database
from tests.ledger.parts import LaterClock


@dataclass
class CutOff:
    """Worker one stopped in the midst of verifying; two has taken the task over, found nothing, and let it go."""

    gate: TestGate
    clock: LaterClock
    two: TaskRuntime
    stage: Stage
    task_id: str
    verify: asyncio.Event
    sent: asyncio.Task[Any] = field(repr=False)

    async def verified_late(self) -> None:
        self.verify.set()
        await asyncio.gather(*self.gate.verifying, return_exceptions=True)

    async def looked(self, later_s: int) -> str:
        """The task's state after the tick that is due `later_s` later."""
        self.clock.later_s = later_s
        await self.two.recovery.tick()
        await asyncio.gather(*self.two._leases._jobs.values())
        state: str = (await self.two.snapshot(self.task_id, ANONYMOUS)).view["status"]["state"]
        return state


@pytest.fixture
async def cut_off(database: Database) -> AsyncIterator[CutOff]:
    clock, stage = LaterClock(), Stage()
    gate = TestGate(clock)
    reached, verify = asyncio.Event(), asyncio.Event()

    async def hold(_task_id: str) -> None:
        reached.set()
        await verify.wait()

    one = a_runtime(database, stage, gate, "one", clock)
    two = a_runtime(database, stage, gate, "two", clock)
    asked = await one.send(incoming_text("hello", "ask", "m1"), ANONYMOUS)
    gate.at_verifying = hold
    sent = asyncio.create_task(one.send(paying(asked["id"]), ANONYMOUS))
    await reached.wait()
    await one.close()
    await two.recovery.tick()
    await asyncio.gather(*two._leases._jobs.values())
    assert (await two.snapshot(asked["id"], ANONYMOUS)).view["status"]["state"] == "input-required"
    made = CutOff(gate, clock, two, stage, asked["id"], verify, sent)
    yield made
    await made.verified_late()
    await two.close()
    await asyncio.gather(sent, return_exceptions=True)


async def test_a_payment_journaled_late_is_worked_for_long_before_its_quote_ends(cut_off: CutOff) -> None:
    """The gate is asked again about what was cut off; nothing journaled leaves the task payable."""
    assert await cut_off.looked(10) == "input-required"
    await cut_off.verified_late()
    assert await cut_off.looked(20) == "completed"
    assert len(cut_off.stage.works) == 1 and cut_off.gate.booked == [cut_off.task_id]


async def test_an_expired_quote_that_was_paid_is_worked_for(cut_off: CutOff) -> None:
    """The payment was journaled, then the quote ran out before anybody looked."""
    await cut_off.verified_late()
    assert await cut_off.looked(700) == "completed"


async def test_an_expired_quote_is_void_before_the_task_ends(cut_off: CutOff) -> None:
    """The quote runs out first: the task fails, and the verification that comes after it journals nothing."""
    assert await cut_off.looked(700) == "failed"
    await cut_off.verified_late()
    assert cut_off.gate.journal == {}


async def test_a_cancelled_tasks_payment_is_void(cut_off: CutOff) -> None:
    """Cancelled before it was journaled: canceled, and nothing is charged."""
    view = await cut_off.two.cancel(cut_off.task_id, ANONYMOUS)
    assert view["status"]["state"] == "canceled"
    await cut_off.verified_late()
    assert cut_off.gate.journal == {}


async def test_a_cancellation_that_comes_after_the_payment_is_refused(cut_off: CutOff) -> None:
    """The payment was journaled first: the cancellation is refused and the work is done."""
    await cut_off.verified_late()
    with pytest.raises(TaskNotStoppable):
        await cut_off.two.cancel(cut_off.task_id, ANONYMOUS)
    assert await cut_off.looked(0) == "completed"


async def test_a_payment_that_was_declined_too_late_is_worked_for(cut_off: CutOff) -> None:
    """The payer's word comes after its own payment: it has paid, so it gets the work."""
    await cut_off.verified_late()
    view = await cut_off.two.send(paying(cut_off.task_id, {}, "payment-rejected"), ANONYMOUS)
    assert view["status"]["state"] == "completed"


async def test_a_payment_that_is_still_moving_keeps_the_task_from_ending(cut_off: CutOff) -> None:
    """Nobody knows yet whether the money moved: neither expired nor canceled, and once it has, the work is done."""
    await cut_off.verified_late()
    cut_off.gate.journal[cut_off.task_id] = "slow"
    cut_off.clock.later_s = 700
    await cut_off.two.recovery.tick()
    await cut_off.two.recovery.tick()
    with pytest.raises(TaskNotStoppable):
        await cut_off.two.cancel(cut_off.task_id, ANONYMOUS)
    cut_off.gate.pending.set()
    assert await cut_off.looked(700) == "completed"


async def test_what_ended_stays_ended(cut_off: CutOff) -> None:
    """A payment for a task that was cancelled is refused."""
    await cut_off.two.cancel(cut_off.task_id, ANONYMOUS)
    with pytest.raises(TaskEnded):
        await cut_off.two.send(paying(cut_off.task_id), ANONYMOUS)
