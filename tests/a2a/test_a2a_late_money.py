"""The same as in test_a2a_cut_off, over the real gate and chain: the library verifies in a thread nobody can stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from a2a_world import Shifted, Stage, a_runtime, incoming_text, paying
from eth_account.signers.local import LocalAccount
from holding_rpc import HoldingRpc

from agentnode.a2a import TaskRuntime
from ledger.accounts import ANONYMOUS
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess
from tests.payments.payments_world import World, opened, signed_payload

FUNDED_ATOMIC = 1_000_000
READ_WHILE_VERIFYING = "eth_blockNumber"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    process = ChainProcess(tmp_path_factory.mktemp("a2a-chain"))
    yield process
    process.stop()


@dataclass
class Late:
    """Worker one stopped while its thread verifies; two has let the task go."""

    world: World
    rpc: HoldingRpc
    clock: Shifted
    two: TaskRuntime
    task_id: str
    payer: LocalAccount

    async def looked(self, shift_s: int) -> str:
        """The task's state after the tick that is due `shift_s` later."""
        self.clock.shift_s = shift_s
        await self.two.tick()
        await asyncio.gather(*self.two._worker._held.values())
        state: str = (await self.two.get(self.task_id, ANONYMOUS))["status"]["state"]
        return state

    async def settled(self) -> None:
        self.rpc.let_go.set()
        async with asyncio.timeout(60):
            while [entry.point for entry in await self.world.journal()] != ["confirmed"]:
                await asyncio.sleep(0.05)

    async def refused(self) -> None:
        """The thread has come to its plan, and has ended."""
        self.rpc.let_go.set()
        await asyncio.to_thread(self.world.payments.facilitator._scheme._threads.shutdown)

    @property
    def charged(self) -> bool:
        return self.world.usdc(self.payer.address) < FUNDED_ATOMIC


@pytest.fixture
async def late(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[Late]:
    async with (
        HoldingRpc(chain.url).served() as rpc,
        opened(chain, database, tmp_path, rpc_url=rpc.url) as world,
        contextlib.AsyncExitStack() as stack,
    ):
        clock, stage, gate = Shifted(), Stage(), world.payments.gate
        one, two = (a_runtime(database, stage, gate, owner, clock) for owner in ("one", "two"))
        stack.push_async_callback(two.close)
        task_id = (await one.send(incoming_text("hello", "ask", "m1"), ANONYMOUS))["id"]
        requirement = await gate.requirement(task_id)
        assert requirement is not None
        payer = chain.funded("1")
        rpc.method = READ_WHILE_VERIFYING
        paid = signed_payload(chain, payer, requirement)
        sent = asyncio.create_task(one.send(paying(task_id, paid), ANONYMOUS))
        await rpc.reached.wait()
        await one.close()
        await asyncio.gather(sent, return_exceptions=True)
        made = Late(world, rpc, clock, two, task_id, payer)
        assert await made.looked(0) == "input-required"
        yield made
        rpc.let_go.set()


async def test_a_quote_that_ran_out_after_its_payment_left_is_worked_for(late: Late) -> None:
    """The thread journals, the queue settles, nobody comes back: the payer was charged and gets the answer."""
    await late.settled()
    assert await late.looked(700) == "completed"
    assert late.charged


async def test_a_late_payment_is_found_before_its_quote_runs_out(late: Late) -> None:
    """The payer need not wait for the end of the quote."""
    await late.settled()
    assert await late.looked(10) == "completed"


async def test_a_cancelled_task_charges_nobody(late: Late) -> None:
    """Cancelled while the thread still verifies: what it comes to is not journaled."""
    view = await late.two.cancel(late.task_id, ANONYMOUS)
    assert view["status"]["state"] == "canceled"
    await late.refused()
    assert await late.world.journal() == [] and not late.charged


async def test_an_expired_task_charges_nobody(late: Late) -> None:
    """The quote ran out while the thread still verifies: failed, and not charged."""
    assert await late.looked(700) == "failed"
    await late.refused()
    assert await late.world.journal() == [] and not late.charged
