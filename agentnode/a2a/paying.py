"""How a task is paid: required, submitted, settled, or not. The standalone flow of the a2a-x402 extension.

The task is taken for the time of a settlement, so that payments for one task come one after the other, and who dies
in the middle is found by the lapsed lease; whether money moved is asked of the toll gate, never guessed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agentnode.a2a.errors import TaskBusy, TaskEnded, TaskMissing, TaskPaidByAnother
from agentnode.a2a.events import Event, View, created, failed, said, status, status_of
from agentnode.a2a.gate import Gate
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.rules import FREE, end_unpaid, take_to_pay
from agentnode.a2a.skills import Skill
from agentnode.a2a.states import FAILED, INPUT_REQUIRED, WORKING
from agentnode.a2a.tables import Task
from agentnode.a2a.worker import Worker
from agentnode.payments import PaymentRefused, PaymentRequirement, QuoteExpired, Receipt, SettlementPending
from agentnode.payments.metadata import (
    STATUS,
    expired_metadata,
    failed_metadata,
    rejected_metadata,
    required_metadata,
    verified_metadata,
)
from ledger.clock import Clock
from ledger.errors import Conflict
from ledger.ids import new_id
from ledger.money import usd_exact

_WAIT_FOR_ANOTHER_S = 15.0
_PAYING = "A payment of this task is being settled."


class PaymentUnderWay(Conflict):
    """Another payment of the task is being settled."""

    code = "SETTLEMENT_PENDING"
    retry_after_ms = 2_000


class Paying:
    def __init__(
        self, gate: Gate, log: TaskLog, reader: TaskReader, leases: Leases, worker: Worker, clock: Clock, resource: str
    ) -> None:
        self._gate = gate
        self._log = log
        self._reader = reader
        self._leases = leases
        self._worker = worker
        self._clock = clock
        self._resource = resource

    async def require(self, task: Task, skill: Skill, incoming: Incoming) -> Event:
        """The first event of a priced task: it waits for its price."""
        asked = await self._gate.require(
            task.id, skill.price_usd_nanos, self._resource, skill.description, incoming.input_hash
        )
        task.expires_at_us = asked.expires_at_us
        return created(incoming.message, self._required(task, asked))

    async def submit(self, task: Task, message: dict[str, Any], payload: Any) -> Task:
        """Take a payment and begin the work; the task as it stands when that is decided.

        Raises TaskPaidByAnother, TaskEnded, PaymentUnderWay, and Unavailable where nothing can be checked.
        """
        try:
            held = await self._take(task.id)
        except (TaskBusy, TaskEnded):
            return await self._after_another(task.id, payload)
        decided: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        job = self._worker.hold(held, self._settle(held, message, payload, decided))
        # Whoever asked may go away: the settlement and the work go on.
        both: set[asyncio.Future[Any]] = {job, decided}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if decided.done():
            return decided.result()
        await job
        raise PaymentUnderWay(_PAYING)

    async def reject(self, task: Task, message: dict[str, Any]) -> Task:
        """The client will not pay."""
        event = status(
            FAILED,
            self._now(),
            text="The payment was declined.",
            metadata=rejected_metadata(),
            message_id=new_id("msg"),
        )
        written = await self._log.alter(task.id, end_unpaid(said(message), event))
        await self._gate.reject(task.id)
        return written.task

    async def canceled(self, task: Task) -> None:
        await self._gate.reject(task.id)

    async def expire(self, task: Task) -> None:
        """Its quote has run out."""
        asked = await self._asked(task)
        try:
            await self._log.alter(task.id, end_unpaid(self._expired(task, asked)))
        except (TaskBusy, TaskEnded):
            return

    async def recover(self, held: Task, view: View) -> tuple[Task, Receipt] | None:
        """What became of the payment that was under way when the task's worker died; waits for its end."""
        while True:
            try:
                outcome = await self._gate.outcome(held.id)
                break
            except SettlementPending as pending:
                await asyncio.sleep((pending.retry_after_ms or 1_000) / 1_000)
        if isinstance(outcome, Receipt):
            return (held if held.paid else await self._verified(held, outcome)), outcome
        if outcome is not None:
            await self._worker.append(held, [self._refused(held, await self._asked(held), outcome)], **FREE)
        elif held.state == INPUT_REQUIRED:
            await self._worker.append(held, [], **FREE)
        else:
            waits = {"kind": "status", "status": self._required(held, await self._asked(held))}
            await self._worker.append(held, [waits], **FREE)
        return None

    async def _settle(self, held: Task, message: dict[str, Any], payload: Any, decided: asyncio.Future[Task]) -> None:
        try:
            receipt = await self._gate.submit(held.id, payload)
        except PaymentRefused as refused:
            end = self._refused(held, await self._asked(held), refused)
            decided.set_result((await self._worker.append(held, [said(message), end], **FREE)).task)
            return
        except QuoteExpired:
            end = self._expired(held, await self._asked(held))
            decided.set_result((await self._worker.append(held, [said(message), end])).task)
            return
        except SettlementPending:
            recovered = await self._settle_later(held, message, decided)
            if recovered is None:
                return
            held, receipt = recovered
        except BaseException as error:
            # Cut off anywhere: what the journal holds decides. A lapsed lease makes the next tick ask it.
            await self._worker.append(held, [], lease_until_us=0)
            if isinstance(error, Exception) and not decided.done():
                decided.set_exception(error)
                return
            raise
        else:
            held = await self._verified(held, receipt, said(message))
            decided.set_result(held)
        first = (await self._reader.snapshot(held)).view["history"][0]
        await self._worker.work(held, self._worker.work_of(held, first), [receipt])

    async def _settle_later(
        self, held: Task, message: dict[str, Any], decided: asyncio.Future[Task]
    ) -> tuple[Task, Receipt] | None:
        waits = status(
            WORKING, self._now(), text=_PAYING, metadata={STATUS: "payment-submitted"}, message_id=new_id("msg")
        )
        held = (await self._worker.append(held, [said(message), waits], expires_at_us=None)).task
        decided.set_result(held)
        return await self.recover(held, {})

    async def _verified(self, held: Task, receipt: Receipt, *before: Event) -> Task:
        event = status(
            WORKING,
            self._now(),
            text="The payment has settled; the work begins.",
            metadata=verified_metadata(),
            message_id=new_id("msg"),
        )
        columns = {"payer": receipt.payer, "receipt_id": receipt.id, "payment_id": receipt.payment_id}
        return (await self._worker.append(held, [*before, event], expires_at_us=None, **columns)).task

    async def _take(self, task_id: str) -> Task:
        """The task for this payment; waits while another one is being settled."""
        deadline = asyncio.get_running_loop().time() + _WAIT_FOR_ANOTHER_S
        with self._reader.listening(task_id) as listener:
            while True:
                rule = take_to_pay(self._leases.owner, self._leases.until_us())
                try:
                    return (await self._log.alter(task_id, rule)).task
                except TaskBusy:
                    task = await self._reader.task(task_id)
                    if task is None or task.state != INPUT_REQUIRED:
                        raise
                    if asyncio.get_running_loop().time() > deadline:
                        raise PaymentUnderWay(_PAYING) from None
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

    async def _asked(self, task: Task) -> PaymentRequirement:
        asked = await self._gate.requirement(task.id)
        assert asked is not None, "a priced task is written after its requirement"
        return asked

    def _required(self, task: Task, asked: PaymentRequirement) -> dict[str, Any]:
        return status_of(
            INPUT_REQUIRED,
            self._now(),
            text=f"This costs {usd_exact(task.price_usd_nanos)} USD; send the payment on this task.",
            metadata=required_metadata(asked, task.x402_version),
            message_id=new_id("msg"),
        )

    def _refused(self, task: Task, asked: PaymentRequirement, refused: PaymentRefused) -> Event:
        metadata = failed_metadata(asked, refused, task.x402_version)
        return status(INPUT_REQUIRED, self._now(), text=refused.message, metadata=metadata, message_id=new_id("msg"))

    def _expired(self, task: Task, asked: PaymentRequirement) -> Event:
        return failed(QuoteExpired(), self._now(), new_id("msg"), expired_metadata(asked, task.x402_version))

    def _now(self) -> int:
        return self._clock.now_us()
