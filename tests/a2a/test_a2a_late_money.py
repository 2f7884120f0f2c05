"""As in test_a2a_cut_off, over the real gate and chain: who is cut off while the chain is asked charges nobody."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from a2a_world import Stage, a_runtime, incoming_text, paying
from eth_account.signers.local import LocalAccount

from agentnode.a2a import TaskRuntime
from ledger.accounts import ANONYMOUS
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess
from tests.ledger.parts import LaterClock
from tests.payments.payments_world import World, opened, signed_payload
from tests.payments.rpc_proxy import RpcProxy

FUNDED_ATOMIC = 1_000_000
READ_WHILE_VERIFYING = "eth_blockNumber"


class Holds:
    """The rule of a chain that is slow: it holds back the calls of one method, once it is set, until `let_go`."""

    def __init__(self) -> None:
        self.method = ""
        self.reached, self.let_go = asyncio.Event(), threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, request: dict[str, Any]) -> None:
        if request["method"] == self.method:
            self._loop.call_soon_threadsafe(self.reached.set)
            self.let_go.wait(60)


@dataclass
class Late:
    """Worker one stopped while it verifies; two has let the task go."""

    world: World
    rpc: Holds
    clock: LaterClock
    two: TaskRuntime
    task_id: str
    payer: LocalAccount
    payload: dict[str, Any]
    sent: asyncio.Task[Any]

    async def looked(self, later_s: int) -> str:
        """The task's state after the tick that is due `later_s` later."""
        self.clock.later_s = later_s
        await self.two.recovery.tick()
        await asyncio.gather(*self.two._leases._jobs.values())
        state: str = (await self.two.snapshot(self.task_id, ANONYMOUS)).view["status"]["state"]
        return state

    async def refused(self) -> None:
        """The chain has answered who has gone."""
        self.rpc.let_go.set()
        await asyncio.gather(self.sent, return_exceptions=True)

    @property
    def charged(self) -> bool:
        return self.world.usdc(self.payer.address) < FUNDED_ATOMIC


@pytest.fixture
async def late(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[Late]:
    rpc = Holds()
    with RpcProxy(chain.url, rpc) as proxy:
        async with (
            opened(chain, database, tmp_path, rpc_url=proxy.url) as world,
            contextlib.AsyncExitStack() as stack,
        ):
            clock, stage, gate = LaterClock(), Stage(), world.payments.task_gate
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
            made = Late(world, rpc, clock, two, task_id, payer, paid, sent)
            assert await made.looked(0) == "input-required"
            yield made
            rpc.let_go.set()


async def test_a_payment_that_was_cut_off_charges_nobody_and_pays_when_it_comes_again(late: Late) -> None:
    """The same payment, sent to the other worker, is settled there and worked for."""
    await late.refused()
    assert await late.world.journal() == [] and not late.charged
    view = await late.two.send(paying(late.task_id, late.payload), ANONYMOUS)
    assert view["status"]["state"] == "completed"
    assert late.charged


async def test_a_cancelled_task_charges_nobody(late: Late) -> None:
    """Cancelled while the chain is still being asked: nothing is journaled."""
    view = await late.two.cancel(late.task_id, ANONYMOUS)
    assert view["status"]["state"] == "canceled"
    await late.refused()
    assert await late.world.journal() == [] and not late.charged


async def test_an_expired_task_charges_nobody(late: Late) -> None:
    """The quote ran out while the chain is still being asked: failed, and not charged."""
    assert await late.looked(700) == "failed"
    await late.refused()
    assert await late.world.journal() == [] and not late.charged
