"""`python -m tests.promises.counting_worker DATABASE_URL OWNER [FOLDER CHAIN_URL]`: an agent that counts, over real
HTTP, and may be killed at it. With a folder and a chain it is paid for that; workers of one folder share keys and
wallets. It is quicker than a node to see that another is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from agentnode.a2a import Skill, Skills, TaskRuntime, sold
from agentnode.ground import ground_on
from agentnode.payments import TaskGate
from agentnode.payments.assembly import PAYEE_WALLET, SENDER_WALLET, open_payments
from agentnode.sell import skills_in
from agentnode.settings import load
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.vault import Vault
from ledger.work import Idempotency
from tests.a2a.a2a_world import FixedKey, pushes, served
from tests.payments.payments_world import OpenWallets
from tests.promises import counting
from trust.keys import NodeKeys


async def main(url: str, owner: str, *paid_at: str) -> None:
    clock, database = SystemClock(), Database(url)
    gate, vault, settling = await _paid(database, clock, owner, *paid_at) if paid_at else _free(database, clock)
    skill = sold(*skills_in([counting.__file__])) if gate else FREE
    runtime = TaskRuntime(
        *(database, vault, clock, Idempotency(database, clock, vault), owner, gate),
        *(Skills([skill], default="count"), "http://node"),
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


FREE = Skill("count", "Count", "Counts.", lambda work: counting.count(work.text))


def _free(database: Database, clock: SystemClock) -> tuple[None, Vault, asyncio.Future[None]]:
    return None, Vault(database, clock, FixedKey()), asyncio.get_running_loop().create_future()


async def _paid(
    database: Database, clock: SystemClock, owner: str, folder: str, chain_url: str
) -> tuple[TaskGate, Vault, asyncio.Future[None]]:
    keys, wallets = NodeKeys.open(Path(folder) / "keys", "test"), OpenWallets()
    wallets.put(SENDER_WALLET, "0x" + "a1" * 32)
    wallets.put(PAYEE_WALLET, "0x" + "a2" * 32)
    ground = ground_on(load({}, data=Path(folder), chain=chain_url), database, clock, owner, keys, wallets)
    await ground.spend.start()
    paid = await open_payments(ground)
    return paid.task_gate, ground.vault, asyncio.ensure_future(paid.run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
