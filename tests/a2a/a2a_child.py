"""A worker process that begins a task, says where it is, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys

from a2a_world import Stage, TestGate, a_runtime, incoming_text, payload

from agentnode.payments.asking.task_metadata import Submission
from ledger.accounts import ANONYMOUS
from ledger.clock import SystemClock
from ledger.database import Database


async def main(url: str, skill: str, at: str) -> None:
    """`at`: `working` or `settling`."""
    stage, gate = Stage(), TestGate(SystemClock())
    settling = asyncio.Event()

    async def wait_for_ever(_task_id: str) -> None:
        settling.set()
        await asyncio.Event().wait()

    if at == "settling":
        gate.at_settling = wait_for_ever
    runtime = a_runtime(Database(url), stage, gate, owner="killed", lease_s=0.4)
    await runtime.start()
    view = await runtime.send(incoming_text("the text", skill, "m1"), ANONYMOUS, wait=False)
    if view["status"]["state"] == "input-required":
        paying = incoming_text(
            "pay", skill, "m2", task_id=view["id"], submission=Submission("payment-submitted", payload())
        )
        job = asyncio.create_task(runtime.send(paying, ANONYMOUS, wait=False))
        await (settling if at == "settling" else stage.begun).wait()
        assert not job.done() or job.result()
    else:
        await stage.begun.wait()
    sys.stdout.write(view["id"] + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
