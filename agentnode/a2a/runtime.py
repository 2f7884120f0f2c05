"""The task runtime: a message becomes a task, is paid for where that is asked, worked on, and brought to its end.

Every method takes the caller; a task that is not the caller's is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from agentnode.a2a.access import listed, owns, visible
from agentnode.a2a.errors import TaskEnded, TaskNotStoppable
from agentnode.a2a.events import Event, View, apply, fold, state_of, status
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.intake import Intake
from agentnode.a2a.leases import Leases
from agentnode.a2a.listeners import Listener, Listeners, Numbered
from agentnode.a2a.log import TaskLog
from agentnode.a2a.paying import Paying
from agentnode.a2a.pushes import TaskPushes
from agentnode.a2a.reader import Filter, Snapshot, TaskReader
from agentnode.a2a.recovery import Recovery
from agentnode.a2a.settling import Settling
from agentnode.a2a.skills import Skills
from agentnode.a2a.states import CANCELED, SETTLED, TERMINAL
from agentnode.a2a.toll_gate import Gate
from agentnode.a2a.transitions import stop
from agentnode.a2a.worker import Worker
from agentnode.payments import PaymentRequirement, PaymentsAbsent
from agentnode.push import PushConfigs
from ledger.accounts import Caller
from ledger.clock import Clock
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.ids import new_id
from ledger.vault import Vault
from ledger.work import Idempotency

Step = tuple[int, View | Event]
"""What is sent, and the number of the last event in it."""


class TaskRuntime:
    """Runs tasks. `owner` names this process on leases; `gate` is None on a node that cannot be paid.

    `resource` is the URL that a payment is asked for; `start` begins the ticking, `close` leaves the work to others.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        idempotency: Idempotency,
        owner: str,
        gate: Gate | None,
        skills: Skills,
        resource: str,
        push_configs: PushConfigs,
        lease_s: float = 15.0,
        tick_s: float = 2.0,
        poll_s: float = 0.25,
    ) -> None:
        listeners = Listeners()
        self.input_modes = skills.input_modes
        self._clock = clock
        self._gate = gate
        self._reader = reader = TaskReader(database, vault, listeners, poll_s)
        self._log = log = TaskLog(database, vault, clock, listeners, push_configs)
        self._leases = leases = Leases(database, clock, owner, lease_s)
        worker = Worker(log, skills, clock, gate)
        settling: Settling | None = None
        self._paying: Paying | None = None
        if gate is not None:
            settling = Settling(gate, log, reader, worker, clock)
            self._paying = Paying(gate, log, reader, leases, settling, clock, resource)
        self.pushes = TaskPushes(database, log, reader, clock, push_configs)
        self._intake = Intake(
            *(database, clock, idempotency, skills, log, reader, leases, worker, self._paying, self.pushes)
        )
        self.recovery = Recovery(log, reader, leases, worker, settling, clock, tick_s)
        self._recovering: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.recovery.tick()
        self._recovering = asyncio.create_task(self.recovery.run())

    async def close(self) -> None:
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait({self._recovering})
        await self._leases.close()

    async def send(self, incoming: Incoming, caller: Caller, wait: bool = True) -> View:
        """The task that the message made or went to: as it is at first, or once it ended or needs its caller.

        Of a direct skill, the agent's message.

        Raises SkillUnknown, InvalidInput, TaskMissing, TaskEnded, TaskBusy, PaymentsAbsent, IdempotencyConflict,
        and what Paying.submit raises.
        """
        async with self._begun(incoming, caller) as (begun, listener):
            if wait:
                async with contextlib.aclosing(self._until_settled(begun, listener)) as events:
                    async for _, event in events:
                        apply(begun.view, event)
            return begun.view

    async def stream(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[Step, None]:
        """The task at first, then each of its events, until it has ended or needs its caller. Raises as `send`."""
        async with self._begun(incoming, caller) as (begun, listener):
            if begun.fresh:
                first = begun.seq - len(begun.fresh) + 1
                yield first, fold(begun.task.id, begun.task.context_id, begun.fresh[:1])
                for step in enumerate(begun.fresh[1:], first + 1):
                    yield step
            else:
                yield begun.seq, begun.view
            async with contextlib.aclosing(self._until_settled(begun, listener)) as events:
                async for step in events:
                    yield step

    async def subscribe(self, task_id: str, caller: Caller, after_seq: int | None = None) -> AsyncGenerator[Step, None]:
        """The task as it stands, then each of its events until its end; with `after_seq` only those behind that one.

        Raises TaskMissing, InvalidInput; TaskEnded, with `after_seq` only where nothing is behind it.
        """
        task = await visible(self._reader, task_id, caller)
        with self._reader.listening(task.id) as listener:
            if after_seq is None:
                stands = await self._reader.snapshot(task)
                if (state := stands.view["status"]["state"]) in TERMINAL:
                    raise TaskEnded(state)
                yield stands.seq, stands.view
                after_seq = stands.seq
            else:
                if after_seq > task.seq:
                    raise InvalidInput("Last-Event-ID", "is not one that this agent gave")
                missed = await self._reader.events(task, after_seq)
                if task.ended and not missed:
                    raise TaskEnded(task.state)
                listener.tell(missed)
            async with contextlib.aclosing(self._reader.follow(task, after_seq, listener)) as events:
                async for seq, event in events:
                    yield seq, event
                    if state_of(event) in TERMINAL:
                        return

    async def snapshot(self, task_id: str, caller: Caller) -> Snapshot:
        """The task and what is seen of it. Raises TaskMissing."""
        return await self._reader.snapshot(await visible(self._reader, task_id, caller))

    async def price(self, task_id: str, caller: Caller) -> PaymentRequirement:
        """What the task asks for. Raises TaskMissing, PaymentsAbsent."""
        task = await visible(self._reader, task_id, caller)
        asked = await self._gate.requirement(task.id) if self._gate is not None else None
        if asked is None:
            raise PaymentsAbsent
        return asked

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """What became of it; who has its id may know. Raises PaymentUnknown, PaymentsAbsent."""
        if self._gate is None:
            raise PaymentsAbsent
        return await self._gate.status(payment_id)

    async def page(self, which: Filter, caller: Caller) -> tuple[list[Snapshot], int, bool]:
        """Of the tasks asked for the caller's, how many there are in all, and whether more may follow."""
        mine = listed(which, caller)
        return await self._reader.page(mine) if mine is not None else ([], 0, False)

    async def cancel(self, task_id: str, caller: Caller) -> View:
        """Stop the task. Raises TaskMissing; TaskNotStoppable where it ended or is being, or was, paid for.

        Its payer, proved, may end a paid one that waits for the caller's words: the price goes back to the receipt.
        """
        task = await visible(self._reader, task_id, caller)
        event = status(CANCELED, self._clock.now_us(), text="Canceled by its caller.", message_id=new_id("msg"))
        try:
            if task.price_usd_nanos and self._paying is not None:
                await self._paying.cancel(task, event, owns(caller, task))
            else:
                await self._log.alter(task.id, stop(event))
                self._leases.stop(task.id)
        except TaskEnded as ended:
            raise TaskNotStoppable(f"the task is {ended.state}") from None
        return (await self._reader.snapshot(task)).view

    @contextlib.asynccontextmanager
    async def _begun(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[tuple[Snapshot, Listener], None]:
        task_id = incoming.task_id or new_id("task")
        with self._reader.listening(task_id) as listener:
            begun = await self._intake.once(task_id, incoming, caller)
            if begun.task.id == task_id:
                yield begun, listener
                return
        with self._reader.listening(begun.task.id) as listener:  # an equal message made it before
            yield await self._reader.snapshot(begun.task), listener

    async def _until_settled(self, begun: Snapshot, listener: Listener) -> AsyncGenerator[Numbered, None]:
        if "status" not in begun.view or begun.view["status"]["state"] in SETTLED:
            return
        async with contextlib.aclosing(self._reader.follow(begun.task, begun.seq, listener)) as events:
            async for seq, event in events:
                yield seq, event
                if state_of(event) in SETTLED:
                    return
