"""A worker of an A2A agent, over real HTTP, whose skill counts slowly: to be killed in the midst of it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

from agentnode.a2a import Skill, Skills, TaskRuntime, Work
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.vault import Vault
from ledger.work import Idempotency
from tests.a2a.a2a_world import FixedKey, pushes, served

COUNT = 40


async def count(work: Work) -> AsyncGenerator[str, None]:
    for number in range(COUNT):
        yield f"{number},"
        await asyncio.sleep(0.02)


async def main(url: str, owner: str) -> None:
    clock, database = SystemClock(), Database(url)
    vault = Vault(database, clock, FixedKey())
    skills = Skills([Skill("count", "Count", "Counts.", count)], default="count")
    runtime = TaskRuntime(
        *(database, vault, clock, Idempotency(database, clock, vault), owner, None, skills, "http://node"),
        pushes(database, clock),
        lease_s=2.0,
        tick_s=0.3,
        poll_s=0.05,
    )
    with contextlib.suppress(asyncio.CancelledError):
        async with served(runtime) as origin:
            sys.stdout.write(f"ready {origin}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
