"""What becomes of a payment, with its task in hand: settled and worked for, refused, given back, or never made.

Whether money moved is asked of the toll gate, never guessed. Who dies in the midst is found by the lapsed lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentnode.a2a import payment_events
from agentnode.a2a.events import Event, said
from agentnode.a2a.log import TaskLog
from agentnode.a2a.reader import TaskReader
from agentnode.a2a.states import INPUT_REQUIRED
from agentnode.a2a.tables import Task
from agentnode.a2a.toll_gate import Gate
from agentnode.a2a.transitions import FREE
from agentnode.a2a.worker import Worker, work_of
from agentnode.payments import PaymentRefused, PaymentRequirement, QuoteExpired, Receipt, SettlementPending
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError

_LOOK_AGAIN_US = 5 * SECOND_US

Decided = asyncio.Future[Task]
"""The task as it stands once it is known whether it is paid, or that this takes long."""


class Settling:
    def __init__(self, gate: Gate, log: TaskLog, reader: TaskReader, worker: Worker, clock: Clock) -> None:
        self._gate = gate
        self._log = log
        self._reader = reader
        self._worker = worker
        self._clock = clock

    async def settle(self, held: Task, message: dict[str, Any], payload: Any, decided: Decided) -> None:
        """Charge the payment that the message carries, and do the work."""
        try:
            receipt = await self._gate.submit(held.id, payload)
        except PaymentRefused as refusal:
            end = payment_events.refused(held, await self._asked(held), refusal, self._now())
            decided.set_result(await self._log.append(held, [said(message), end], **FREE))
            return
        except QuoteExpired:
            end = payment_events.expired(held, await self._asked(held), self._now())
            await self.end_unpaid(held, [said(message)], end, decided)
            return
        except SettlementPending:
            waits = payment_events.settling(self._now())
            held = await self._log.append(held, [said(message), waits], expires_at_us=None)
            decided.set_result(held)
            await self._recover(held)
            return
        except BaseException as error:
            # Cut off anywhere: what the journal holds decides. A lapsed lease makes the next tick ask it.
            await self._log.append(held, [], lease_until_us=0)
            if isinstance(error, Exception) and not decided.done():
                decided.set_exception(error)
                return
            raise
        held = await self._verified(held, receipt, said(message))
        decided.set_result(held)
        await self._work(held, receipt)

    async def end_unpaid(self, held: Task, before: Sequence[Event], end: Event, decided: Decided) -> None:
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
            stands = await self._log.append(held, [*before, end])
        if not decided.done():
            decided.set_result(stands)
        if isinstance(outcome, Receipt):
            await self._work(stands, outcome)

    async def end_given_back(self, held: Task, decided: Decided) -> None:
        """What was paid is the payer's again before the end is written, after which nobody looks any more."""
        try:
            receipt = await self._outcome(held)
            assert isinstance(receipt, Receipt), "the task was paid"
            await self._gate.give_back(held.id)
        except AgentNodeError:
            await self._log.append(held, [], **FREE)
            raise
        end = payment_events.given_back(receipt, held.x402_version, self._now())
        decided.set_result(await self._log.append(held, [end]))

    async def go_on(self, held: Task) -> None:
        """Work again on a task that was paid, and then needed its caller."""
        receipt = await self._outcome(held)
        assert isinstance(receipt, Receipt), "the task was paid"
        await self._work(held, receipt)

    async def look(self, held: Task) -> None:
        """Its quote has run out, or a payment of it was cut off and may have been journaled since."""
        asked = await self._asked(held)
        if asked.expires_at_us <= self._now():
            decided: Decided = asyncio.get_running_loop().create_future()
            await self.end_unpaid(held, [], payment_events.expired(held, asked, self._now()), decided)
            return
        outcome = await self._outcome(held)
        if isinstance(outcome, Receipt):
            await self._work(await self._verified(held, outcome), outcome)
        else:
            await self._let_go(held, asked, [])

    async def resume(self, held: Task) -> None:
        """Its worker is gone: a payment may have been under way, and of the work some may be done and booked."""
        await self._recover(held, attempt=held.fence)

    async def _recover(self, held: Task, attempt: int = 1) -> None:
        """Work, once the payment has come to its end and has paid; else the task waits for its price again."""
        outcome = await self._outcome(held)
        if isinstance(outcome, Receipt):
            await self._work(held if held.paid else await self._verified(held, outcome), outcome, attempt)
            return
        asked = await self._asked(held)
        events: list[Event] = []
        if outcome is not None:
            events = [payment_events.refused(held, asked, outcome, self._now())]
        elif held.state != INPUT_REQUIRED:
            events = [{"kind": "status", "status": payment_events.required(held, asked, self._now())}]
        await self._let_go(held, asked, events)

    async def _let_go(self, held: Task, asked: PaymentRequirement, events: Sequence[Event]) -> None:
        """Payable again. Whoever was cut off may journal its payment yet, so the gate is asked until the quote ends."""
        look_at_us = min(asked.expires_at_us, self._now() + _LOOK_AGAIN_US)
        await self._log.append(held, events, **FREE, expires_at_us=look_at_us)

    async def _work(self, held: Task, receipt: Receipt, attempt: int = 1) -> None:
        work = work_of(held, (await self._reader.snapshot(held)).view["history"], attempt)
        if attempt > 1:  # what was done before a crash may have been booked, and only its end not written
            work = replace(work, revenue_usd_nanos=await self._gate.unbooked_usd_nanos(held.id))
        await self._worker.work(held, work, receipt)

    async def _verified(self, held: Task, receipt: Receipt, *before: Event) -> Task:
        columns = {"payer": receipt.payer, "receipt_id": receipt.id, "payment_id": receipt.payment_id}
        events = [*before, payment_events.verified(self._now())]
        return await self._log.append(held, events, expires_at_us=None, **columns)

    async def _outcome(self, held: Task) -> Receipt | PaymentRefused | None:
        """Whether the task was paid for, waiting while money may be moving."""
        while True:
            try:
                return await self._gate.outcome(held.id)
            except SettlementPending as pending:
                await asyncio.sleep((pending.retry_after_ms or 1_000) / 1_000)

    async def _asked(self, task: Task) -> PaymentRequirement:
        asked = await self._gate.requirement(task.id)
        assert asked is not None, "a priced task is written after its requirement"
        return asked

    def _now(self) -> int:
        return self._clock.now_us()
