"""A worker of a node that is paid for counting, over real HTTP, real payments and a real chain: to be killed at it.

`paying_worker.py DATABASE_URL OWNER FOLDER CHAIN_URL`; workers of one folder share its keys and wallets.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from agentnode.a2a import Skill, Skills, TaskRuntime
from agentnode.ground import ground_on
from agentnode.payments import Rate
from agentnode.payments.assembly import PAYEE_WALLET, SENDER_WALLET, open_payments
from agentnode.settings import load
from ledger.clock import SystemClock
from ledger.database import Database
from tests.a2a.a2a_world import pushes, served
from tests.payments.payments_world import OpenWallets
from tests.promises.counting_worker import count
from trust.keys import NodeKeys

PRICE_USD_NANOS = 10_000_000


async def main(url: str, owner: str, folder: str, chain_url: str) -> None:
    clock, database = SystemClock(), Database(url)
    keys, wallets = NodeKeys.open(Path(folder) / "keys", "test"), OpenWallets()
    wallets.put(SENDER_WALLET, "0x" + "a1" * 32)
    wallets.put(PAYEE_WALLET, "0x" + "a2" * 32)
    ground = ground_on(load({}, data=Path(folder), chain=chain_url), database, clock, owner, keys, wallets)
    await ground.spend.start()
    paid = await open_payments(ground)
    settling = asyncio.create_task(paid.run())
    skills = Skills([Skill("count", "Count", "Counts.", count, price=Rate(PRICE_USD_NANOS))], default="count")
    runtime = TaskRuntime(
        *(database, ground.vault, clock, ground.idempotency, owner, paid.task_gate, skills, "http://node"),
        pushes(database, clock),
        lease_s=2.0,
        tick_s=0.3,
        poll_s=0.05,
    )
    with contextlib.suppress(asyncio.CancelledError):
        async with served(runtime) as origin:
            sys.stdout.write(f"ready {origin}\n")
            sys.stdout.flush()
            await settling


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
