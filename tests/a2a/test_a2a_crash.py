"""A worker dies: the task reaches its end all the same, at another worker or after a restart."""

from __future__ import annotations

import asyncio

import pytest
from a2a_world import Stage, TestGate, a_runtime, ended, incoming_text, payload
from sqlalchemy import text

from agentnode.payments import Offer
from agentnode.payments.asking.task_metadata import Submission
from ledger.accounts import ANONYMOUS
from ledger.clock import SystemClock
from ledger.database import Database
from tests.forked import Program


async def killed(database: Database, skill: str, at: str) -> str:
    """A worker process that was killed at `at` with a task in hand; the task's id."""
    url = database.url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+asyncpg", "")
    child = Program("a2a_child", url, skill, at)
    task_id = (await asyncio.to_thread(child.stdout.readline)).strip()
    child.kill()
    assert task_id
    return task_id


@pytest.mark.database
async def test_a_free_task_is_done_by_another_worker(database: Database) -> None:
    """Killed at work: when the lease has run out, the work is done anew, and what was half said is replaced."""
    task_id = await killed(database, "slow", "working")
    stage = Stage()
    stage.go.set()
    runtime = a_runtime(database, stage, owner="other")
    await runtime.start()
    view = await ended(runtime, task_id)
    assert view["artifacts"][0]["parts"] == [{"text": "done: the text"}]
    assert stage.works[0].attempt == 2
    await runtime.close()


async def gate_that_knows(task_id: str, *, journaled: bool) -> TestGate:
    """The toll gate after the crash: its requirement stands in the database, and so does what was journaled."""
    gate = TestGate(SystemClock())
    await gate.require(task_id, Offer(10_000_000, "http://node/api/a2a", "", ""))
    if journaled:
        gate.journal[task_id] = "0x01"
    return gate


async def test_a_paid_task_killed_at_work_is_done_once_more_and_paid_once(database: Database) -> None:
    """The receipt is found again, not bought again, and stands on the ended task."""
    task_id = await killed(database, "paid-slow", "working")
    stage, gate = Stage(), await gate_that_knows(task_id, journaled=True)
    stage.go.set()
    runtime = a_runtime(database, stage, gate, owner="other")
    await runtime.start()
    view = await ended(runtime, task_id)
    assert view["status"]["message"]["metadata"]["x402.payment.status"] == "payment-completed"
    assert gate.submissions == 0 and len(stage.works) == 1
    await runtime.close()


async def test_a_payment_cut_off_after_its_journal_is_worked_for(database: Database) -> None:
    """Killed while settling: the journal knows the payment, so the work is done."""
    task_id = await killed(database, "paid-slow", "settling")
    stage, gate = Stage(), await gate_that_knows(task_id, journaled=True)
    stage.go.set()
    runtime = a_runtime(database, stage, gate, owner="other")
    await runtime.start()
    view = await ended(runtime, task_id)
    assert view["status"]["state"] == "completed"
    said = [each.get("metadata", {}).get("x402.payment.status") for each in view["history"]]
    assert "payment-verified" in said
    await runtime.close()


async def test_a_payment_cut_off_before_its_journal_can_be_sent_again(database: Database) -> None:
    """Killed before anything was journaled: nothing was charged, the task is payable as before."""
    task_id = await killed(database, "paid-slow", "settling")
    stage, gate = Stage(), await gate_that_knows(task_id, journaled=False)
    stage.go.set()
    runtime = a_runtime(database, stage, gate, owner="other")
    await runtime.start()
    paying = incoming_text("pay", "ask", "m3", task_id=task_id, submission=Submission("payment-submitted", payload()))
    view = await runtime.send(paying, ANONYMOUS)
    assert view["status"]["state"] == "completed" and gate.submissions == 1
    await runtime.close()


async def test_a_stop_hands_the_work_to_others_at_once(database: Database, stage: Stage) -> None:
    """A clean stop lets go of its tasks: another worker need not wait for the lease."""
    one = a_runtime(database, stage, owner="one", lease_s=3600)
    view = await one.send(incoming_text("x", "slow", "m1"), ANONYMOUS, wait=False)
    await stage.begun.wait()
    await one.close()
    other = Stage()
    other.go.set()
    two = a_runtime(database, other, owner="two")
    await two.recovery.tick()
    assert (await ended(two, view["id"]))["status"]["state"] == "completed"
    await two.close()


async def test_a_lease_in_hand_is_not_taken(database: Database, stage: Stage) -> None:
    """While its worker lives, nobody else does the work."""
    one, two = a_runtime(database, stage, owner="one"), a_runtime(database, Stage(), owner="two")
    view = await one.send(incoming_text("x", "slow", "m1"), ANONYMOUS, wait=False)
    await stage.begun.wait()
    await two.recovery.tick()
    stage.go.set()
    assert (await ended(one, view["id"]))["status"]["state"] == "completed"
    assert len(stage.works) == 1
    await one.close()
    await two.close()


async def test_who_lost_the_lease_writes_nothing(database: Database, stage: Stage) -> None:
    """A worker that slept through its lease finds the task taken over; its answer is not written."""
    one = a_runtime(database, stage, owner="one", lease_s=0.0)
    view = await one.send(incoming_text("x", "slow", "m1"), ANONYMOUS, wait=False)
    await stage.begun.wait()
    other = Stage()
    two = a_runtime(database, other, owner="two", lease_s=60)
    await two.recovery.tick()
    await other.begun.wait()
    stage.go.set()  # the first one finishes, too late
    await asyncio.wait(one._leases._jobs.values())
    assert (await two.snapshot(view["id"], ANONYMOUS)).view["status"]["state"] == "working"
    other.go.set()
    await ended(two, view["id"])
    async with database.read() as session:
        found = await (await session.connection()).execute(text("SELECT kind FROM task_event ORDER BY seq"))
        assert [kind for (kind,) in found] == ["task", "status", "artifact", "status"]
    await one.close()
    await two.close()
