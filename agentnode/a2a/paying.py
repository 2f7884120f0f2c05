"""What a payer says of a task: what it is asked, that it pays, that it will not, that it wants no more.

The standalone flow of the a2a-x402 extension. The task is taken for the time of a settlement, so that payments for one
task come one after the other; what then becomes of it is settling.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from agentnode.a2a import payment_events
from agentnode.a2a.errors import (
    PaymentUnderWay,
    TaskBusy,
    TaskEnded,
    TaskMissing,
    TaskNotStoppable,
    TaskPaidByAnother,
)
from agentnode.a2a.events import Event, created, said
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reader import TaskReader
from agentnode.a2a.settling import Decided, Settling
from agentnode.a2a.skills import Skill
from agentnode.a2a.states import CANCELED, INPUT_REQUIRED
from agentnode.a2a.tables import Task
from agentnode.a2a.toll_gate import Gate
from agentnode.a2a.transitions import take_to_pay, take_to_stop
from agentnode.payments import Offer, PaymentRefused, Priced, QuoteExpired, SettlementPending
from ledger.clock import Clock

_WAIT_FOR_ANOTHER_S = 15.0


class Paying:
    """`resource` is the URL that a payment is asked for."""

    def __init__(
        self,
        gate: Gate,
        log: TaskLog,
        reader: TaskReader,
        leases: Leases,
        settling: Settling,
        clock: Clock,
        resource: str,
    ) -> None:
        self._gate = gate
        self._log = log
        self._reader = reader
        self._leases = leases
        self._settling = settling
        self._clock = clock
        self._resource = resource

    async def require(self, task: Task, skill: Skill, priced: Priced, incoming: Incoming) -> Event:
        """The first event of a priced task: it waits for its price."""
        described = f"{skill.description} {priced.says}".strip()
        offer = Offer(priced.usd_nanos, self._resource, described, incoming.input_hash, priced.version)
        asked = await self._gate.require(task.id, offer)
        task.expires_at_us = asked.expires_at_us
        return created(incoming.message, payment_events.required(task, asked, self._clock.now_us()))

    async def submit(self, task: Task, message: dict[str, Any], payload: Any) -> Task:
        """Take a payment and begin the work; the task as it stands when that is decided.

        Raises TaskPaidByAnother, TaskEnded, PaymentUnderWay, and Unavailable where nothing can be checked.
        """
        try:
            held = await self._take(task.id)
        except (TaskBusy, TaskEnded):
            return await self._after_another(task.id, payload)
        return await self._decided(held, lambda decided: self._settling.settle(held, message, payload, decided))

    async def reject(self, task: Task, message: dict[str, Any]) -> Task:
        """The client will not pay; what it has paid before is worked for all the same. Raises TaskBusy, TaskEnded."""
        held = await self._held(task.id)
        before, end = [said(message)], payment_events.declined(self._clock.now_us())
        return await self._decided(held, lambda decided: self._settling.end_unpaid(held, before, end, decided))

    async def cancel(self, task: Task, end: Event, by_payer: bool) -> None:
        """Raises TaskEnded, and TaskNotStoppable where its payment is on the way, or it is paid and is not its payer's
        to end."""
        held = (await self._log.alter(task.id, take_to_stop(self._leases.new(), by_payer))).task
        if held.paid:
            await self._decided(held, lambda decided: self._settling.end_given_back(held, decided))
            return
        stands = await self._decided(held, lambda decided: self._settling.end_unpaid(held, [], end, decided))
        if stands.state != CANCELED:
            raise TaskNotStoppable("the task's payment came first; it runs to its end")

    def go_on(self, held: Task) -> None:
        """The work begins again on a task that was paid, and then needed its caller."""
        self._leases.hold(held, self._settling.go_on(held))

    async def _decided(self, held: Task, settling: Callable[[Decided], Coroutine[Any, Any, None]]) -> Task:
        """Whoever asked may go away: the settlement and the work go on."""
        decided: Decided = asyncio.get_running_loop().create_future()
        job = self._leases.hold(held, settling(decided))
        both: set[asyncio.Future[Any]] = {job, decided}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if decided.done():
            return decided.result()
        await job
        raise PaymentUnderWay

    async def _held(self, task_id: str) -> Task:
        """The task, taken. Raises TaskBusy, TaskEnded."""
        return (await self._log.alter(task_id, take_to_pay(self._leases.new()))).task

    async def _take(self, task_id: str) -> Task:
        """The task for this payment; waits while another one is being settled."""
        deadline = asyncio.get_running_loop().time() + _WAIT_FOR_ANOTHER_S
        with self._reader.listening(task_id) as listener:
            while True:
                try:
                    return await self._held(task_id)
                except TaskBusy:
                    task = await self._reader.task(task_id)
                    if task is None or task.paid or task.state != INPUT_REQUIRED:
                        raise
                    if asyncio.get_running_loop().time() > deadline:
                        raise PaymentUnderWay from None
                    await listener.wait(0.05)
                    listener.take()

    async def _after_another(self, task_id: str, payload: Any) -> Task:
        """The task is paid, or ended: the payment that paid it may come again, any other is refused."""
        task = await self._reader.task(task_id)
        if task is None:
            raise TaskMissing
        if task.ended and not task.paid:
            raise TaskEnded(task.state)
        try:
            await self._gate.submit(task_id, payload)
        except (PaymentRefused, QuoteExpired):
            raise TaskPaidByAnother from None
        except SettlementPending:
            pass
        return task
