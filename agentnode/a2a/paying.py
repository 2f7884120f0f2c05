"""How a task is paid: required, submitted, settled, or not. The standalone flow of the a2a-x402 extension.

The task is taken for the time of a settlement, so that payments for one task come one after the other, and who dies
in the middle is found by the lapsed lease; whether money moved is asked of the toll gate, never guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from agentnode.a2a import notices
from agentnode.a2a.errors import TaskBusy, TaskEnded, TaskMissing, TaskNotStoppable, TaskPaidByAnother
from agentnode.a2a.events import Event, View, created, said
from agentnode.a2a.gate import Gate
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.rules import FREE, take_to_pay, take_to_stop
from agentnode.a2a.skills import Skill, Work
from agentnode.a2a.states import CANCELED, INPUT_REQUIRED
from agentnode.a2a.tables import Task
from agentnode.a2a.worker import Worker
from agentnode.payments import (
    Offer,
    PaymentRefused,
    PaymentRequirement,
    Priced,
    QuoteExpired,
    Receipt,
    SettlementPending,
)
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError, Conflict

_WAIT_FOR_ANOTHER_S = 15.0
_LOOK_AGAIN_US = 5 * SECOND_US

Decided = asyncio.Future[Task]
"""The task as it stands once it is known whether it is paid, or that this takes long."""


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

    async def require(self, task: Task, skill: Skill, priced: Priced, incoming: Incoming) -> Event:
        """The first event of a priced task: it waits for its price."""
        described = f"{skill.description} {priced.says}".strip()
        offer = Offer(priced.usd_nanos, self._resource, described, incoming.input_hash, priced.version)
        asked = await self._gate.require(task.id, offer)
        task.expires_at_us = asked.expires_at_us
        return created(incoming.message, notices.required(task, asked, self._now()))

    async def submit(self, task: Task, message: dict[str, Any], payload: Any) -> Task:
        """Take a payment and begin the work; the task as it stands when that is decided.

        Raises TaskPaidByAnother, TaskEnded, PaymentUnderWay, and Unavailable where nothing can be checked.
        """
        try:
            held = await self._take(task.id)
        except (TaskBusy, TaskEnded):
            return await self._after_another(task.id, payload)
        return await self._decided(held, lambda decided: self._settle(held, message, payload, decided))

    async def reject(self, task: Task, message: dict[str, Any]) -> Task:
        """The client will not pay; what it has paid before is worked for all the same. Raises TaskBusy, TaskEnded."""
        held = await self._held(task.id)
        end = notices.declined(self._now())
        return await self._decided(held, lambda decided: self._end_unpaid(held, [said(message)], end, decided))

    async def cancel(self, task: Task, end: Event, by_payer: bool) -> None:
        """Raises TaskEnded, and TaskNotStoppable where its payment is on the way, or it is paid and is not its payer's
        to end."""
        rule = take_to_stop(self._leases.owner, self._leases.until_us(), by_payer)
        held = (await self._log.alter(task.id, rule)).task
        if held.paid:
            await self._decided(held, lambda decided: self._end_given_back(held, decided))
            return
        stands = await self._decided(held, lambda decided: self._end_unpaid(held, [], end, decided))
        if stands.state != CANCELED:
            raise TaskNotStoppable("the task's payment came first; it runs to its end")

    async def go_on(self, held: Task, work: Work) -> None:
        """Work again on a task that was paid, and then needed its caller."""
        outcome = await self._outcome(held)
        assert isinstance(outcome, Receipt), "the task was paid"
        await self._worker.work(held, work, [outcome])

    async def look(self, task: Task) -> None:
        """Its quote has run out, or a payment of it was cut off and may have been journaled since."""
        asked = await self._asked(task)
        try:
            held = await self._held(task.id)
        except (TaskBusy, TaskEnded):
            return
        if asked.expires_at_us <= self._now():
            decided: Decided = asyncio.get_running_loop().create_future()
            end = notices.expired(held, asked, self._now())
            self._worker.hold(held, self._end_unpaid(held, [], end, decided))
        else:
            self._worker.hold(held, self._work_if_paid(held, asked))

    async def recover(self, held: Task, view: View) -> tuple[Task, Receipt] | None:
        """What became of the payment that was under way when the task's worker died; waits for its end."""
        outcome = await self._outcome(held)
        if isinstance(outcome, Receipt):
            return (held if held.paid else await self._verified(held, outcome)), outcome
        asked = await self._asked(held)
        events: list[Event] = []
        if outcome is not None:
            events = [notices.refused(held, asked, outcome, self._now())]
        elif held.state != INPUT_REQUIRED:
            events = [{"kind": "status", "status": notices.required(held, asked, self._now())}]
        await self._let_go(held, asked, events)
        return None

    async def _decided(self, held: Task, work: Callable[[Decided], Coroutine[Any, Any, None]]) -> Task:
        """Whoever asked may go away: the settlement and the work go on."""
        decided: Decided = asyncio.get_running_loop().create_future()
        job = self._worker.hold(held, work(decided))
        both: set[asyncio.Future[Any]] = {job, decided}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if decided.done():
            return decided.result()
        await job
        raise PaymentUnderWay(notices.SETTLING)

    async def _settle(self, held: Task, message: dict[str, Any], payload: Any, decided: Decided) -> None:
        try:
            receipt = await self._gate.submit(held.id, payload)
        except PaymentRefused as refusal:
            end = notices.refused(held, await self._asked(held), refusal, self._now())
            decided.set_result((await self._worker.append(held, [said(message), end], **FREE)).task)
            return
        except QuoteExpired:
            end = notices.expired(held, await self._asked(held), self._now())
            await self._end_unpaid(held, [said(message)], end, decided)
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
        await self._work(held, receipt)

    async def _settle_later(self, held: Task, message: dict[str, Any], decided: Decided) -> tuple[Task, Receipt] | None:
        waits = notices.settling(self._now())
        held = (await self._worker.append(held, [said(message), waits], expires_at_us=None)).task
        decided.set_result(held)
        return await self.recover(held, {})

    async def _end_unpaid(self, held: Task, before: Sequence[Event], end: Event, decided: Decided) -> None:
        """End a task that nobody paid for, or work for the payment that came first.

        The requirement is void before the gate is asked: a payment that is still being verified, here or in a process
        that is gone, is not journaled any more, so that what the gate answers stands.
        """
        await self._gate.reject(held.id)
        try:
            outcome = await self._gate.outcome(held.id)
        except SettlementPending:
            decided.set_result(held)
            outcome = await self._outcome(held)
        if isinstance(outcome, Receipt):
            stands = await self._verified(held, outcome, *before)
        else:
            stands = (await self._worker.append(held, [*before, end])).task
        if not decided.done():
            decided.set_result(stands)
        if isinstance(outcome, Receipt):
            await self._work(stands, outcome)

    async def _end_given_back(self, held: Task, decided: Decided) -> None:
        """What was paid is the payer's again before the end is written, after which nobody looks any more."""
        try:
            receipt = await self._outcome(held)
            assert isinstance(receipt, Receipt), "the task was paid"
            await self._gate.give_back(held.id)
        except AgentNodeError:
            await self._worker.append(held, [], **FREE)
            raise
        end = notices.given_back(receipt, held.x402_version, self._now())
        decided.set_result((await self._worker.append(held, [end])).task)

    async def _work_if_paid(self, held: Task, asked: PaymentRequirement) -> None:
        outcome = await self._outcome(held)
        if isinstance(outcome, Receipt):
            await self._work(await self._verified(held, outcome), outcome)
        else:
            await self._let_go(held, asked, [])

    async def _outcome(self, held: Task) -> Receipt | PaymentRefused | None:
        """Whether the task was paid for, waiting while money may be moving."""
        while True:
            try:
                return await self._gate.outcome(held.id)
            except SettlementPending as pending:
                await asyncio.sleep((pending.retry_after_ms or 1_000) / 1_000)

    async def _let_go(self, held: Task, asked: PaymentRequirement, events: Sequence[Event]) -> None:
        """Payable again. Whoever was cut off may journal its payment yet, so the gate is asked until the quote ends."""
        look_at_us = min(asked.expires_at_us, self._now() + _LOOK_AGAIN_US)
        await self._worker.append(held, events, **FREE, expires_at_us=look_at_us)

    async def _verified(self, held: Task, receipt: Receipt, *before: Event) -> Task:
        columns = {"payer": receipt.payer, "receipt_id": receipt.id, "payment_id": receipt.payment_id}
        events = [*before, notices.verified(self._now())]
        return (await self._worker.append(held, events, expires_at_us=None, **columns)).task

    async def _work(self, held: Task, receipt: Receipt) -> None:
        history = (await self._reader.snapshot(held)).view["history"]
        await self._worker.work(held, self._worker.work_of(held, history), [receipt])

    async def _held(self, task_id: str) -> Task:
        """The task, taken. Raises TaskBusy, TaskEnded."""
        return (await self._log.alter(task_id, take_to_pay(self._leases.owner, self._leases.until_us()))).task

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
                        raise PaymentUnderWay(notices.SETTLING) from None
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

    def _now(self) -> int:
        return self._clock.now_us()
