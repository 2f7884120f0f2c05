"""What time brings: leases are renewed, tasks of dead workers taken over, and quotes that ran out looked at."""

from __future__ import annotations

import asyncio
import logging

from agentnode.a2a.errors import TaskBusy, TaskEnded
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reader import TaskReader
from agentnode.a2a.settling import Settling
from agentnode.a2a.tables import Task
from agentnode.a2a.transitions import Rule, take_over, take_to_pay
from agentnode.a2a.worker import Worker, work_of
from ledger.clock import Clock

logger = logging.getLogger(__name__)


class Recovery:
    """`settling` is None on a node that cannot be paid: priced tasks are left alone there."""

    def __init__(
        self,
        log: TaskLog,
        reader: TaskReader,
        leases: Leases,
        worker: Worker,
        settling: Settling | None,
        clock: Clock,
        tick_s: float,
    ) -> None:
        self._log = log
        self._reader = reader
        self._leases = leases
        self._worker = worker
        self._settling = settling
        self._clock = clock
        self._tick_s = tick_s

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            try:
                await self.tick()
            except Exception as error:
                logger.error("the task runtime's tick failed and comes again: %s", type(error).__name__)

    async def tick(self) -> None:
        await self._leases.renew()
        for task in await self._leases.lapsed():
            if task.price_usd_nanos == 0 or self._settling is not None:
                await self._resume(task)
        if self._settling is not None:
            for task in await self._leases.to_look_at():
                if held := await self._taken(task, take_to_pay(self._leases.new())):
                    self._leases.hold(held, self._settling.look(held))

    async def _resume(self, left: Task) -> None:
        """Take over a task whose worker is gone, and bring it to its end."""
        held = await self._taken(left, take_over(self._leases.new(), self._clock.now_us()))
        if held is None:
            return
        if held.price_usd_nanos and self._settling is not None:
            self._leases.hold(held, self._settling.resume(held))
        else:
            self._leases.hold(held, self._work_again(held))

    async def _work_again(self, held: Task) -> None:
        history = (await self._reader.snapshot(held)).view["history"]
        await self._worker.work(held, work_of(held, history, attempt=held.fence))

    async def _taken(self, task: Task, rule: Rule) -> Task | None:
        """None where another was first, or the task has ended."""
        try:
            return (await self._log.alter(task.id, rule)).task
        except (TaskBusy, TaskEnded):
            return None
