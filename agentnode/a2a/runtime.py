"""The task runtime: a message becomes a task, is paid for where that is asked, worked on, and brought to its end.

Every method takes the caller; a task that is not the caller's is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any

from agentnode.a2a.errors import TaskEnded, TaskNotStoppable
from agentnode.a2a.events import Event, View, apply, fold, state_of, status
from agentnode.a2a.gate import Gate
from agentnode.a2a.hints import Hints, Listener, Numbered
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.intake import Begun, Intake
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.paying import Paying
from agentnode.a2a.reading import Filter, Snapshot, TaskReader
from agentnode.a2a.rules import stop
from agentnode.a2a.skills import Skills
from agentnode.a2a.states import CANCELED, SETTLED, TERMINAL
from agentnode.a2a.telling import Telling
from agentnode.a2a.whose import Whose, listed, owns
from agentnode.a2a.worker import Worker
from agentnode.payments import PaymentRequirement, PaymentsAbsent
from agentnode.push import PushConfigs
from ledger.accounts import Caller
from ledger.clock import Clock
from ledger.database import Database
from ledger.ids import new_id
from ledger.vault import Vault
from ledger.work import Idempotency

logger = logging.getLogger(__name__)

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
        pushes: PushConfigs,
        lease_s: float = 15.0,
        tick_s: float = 2.0,
        poll_s: float = 0.25,
    ) -> None:
        hints = Hints()
        self._clock = clock
        self._gate = gate
        self._tick_s = tick_s
        self._reader = TaskReader(database, vault, hints, poll_s)
        self._log = TaskLog(database, vault, clock, hints, pushes)
        self._leases = Leases(database, clock, owner, lease_s)
        self._worker = Worker(self._log, self._reader, self._leases, skills, clock, gate)
        self._paying: Paying | None = None
        if gate is not None:
            self._paying = Paying(gate, self._log, self._reader, self._leases, self._worker, clock, resource)
        self._whose = Whose(self._reader)
        self.telling = Telling(database, self._log, self._reader, clock, pushes, self._whose)
        self._intake = Intake(
            *(database, clock, idempotency, skills, self._log, self._reader, self._leases, self._worker),
            *(self._paying, self.telling, self._whose),
        )
        self.input_modes = skills.input_modes
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.tick()
        self._ticking = asyncio.create_task(self._tick_for_ever())

    async def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
        await self._worker.close()

    async def tick(self) -> None:
        """What is due: leases renewed, tasks of dead workers taken over, tasks looked at that wait to be paid."""
        await self._worker.renew()
        await self.resume_abandoned()
        if self._paying is not None:
            for task in await self._leases.to_look_at():
                await self._paying.look(task)

    async def resume_abandoned(self) -> None:
        """Take over the tasks whose worker is gone, and bring each to its end."""
        for task in await self._leases.lapsed():
            if task.price_usd_nanos == 0 or self._paying is not None:
                await self._worker.resume(task, self._paying)

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

    async def stream(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[View | Event, None]:
        """The task at first, then each of its events, until it has ended or needs its caller. Raises as `send`."""
        async with contextlib.aclosing(self.stream_numbered(incoming, caller)) as steps:
            async for _, step in steps:
                yield step

    async def stream_numbered(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[Step, None]:
        """As `stream`, each step with the number of the last event in it."""
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

    async def subscribe(self, task_id: str, caller: Caller) -> AsyncGenerator[View | Event, None]:
        """The task as it stands, then each of its events until its end. Raises TaskMissing, TaskEnded."""
        async with contextlib.aclosing(self.subscribe_numbered(task_id, caller)) as steps:
            async for _, step in steps:
                yield step

    async def subscribe_numbered(
        self, task_id: str, caller: Caller, after_seq: int | None = None
    ) -> AsyncGenerator[Step, None]:
        """As `subscribe`, numbered; with `after_seq` only the events behind that one, of an ended task too."""
        task = await self._whose.visible(task_id, caller)
        with self._reader.listening(task.id) as listener:
            if after_seq is None:
                stands = await self._reader.snapshot(task)
                if (state := stands.view["status"]["state"]) in TERMINAL:
                    raise TaskEnded(state)
                yield stands.seq, stands.view
                after_seq = stands.seq
            else:
                missed = await self._reader.events(task, after_seq)
                if task.ended and not missed:
                    raise TaskEnded(task.state)
                listener.tell(missed)
            async with contextlib.aclosing(self._reader.follow(task, after_seq, listener)) as events:
                async for seq, event in events:
                    yield seq, event
                    if state_of(event) in TERMINAL:
                        return

    async def get(self, task_id: str, caller: Caller) -> View:
        """Raises TaskMissing."""
        return (await self._reader.snapshot(await self._whose.visible(task_id, caller))).view

    async def snapshot(self, task_id: str, caller: Caller) -> Snapshot:
        """The task and what is seen of it. Raises TaskMissing."""
        return await self._reader.snapshot(await self._whose.visible(task_id, caller))

    async def price(self, task_id: str, caller: Caller) -> PaymentRequirement:
        """What the task asks for. Raises TaskMissing, PaymentsAbsent."""
        task = await self._whose.visible(task_id, caller)
        asked = await self._gate.requirement(task.id) if self._gate is not None else None
        if asked is None:
            raise PaymentsAbsent
        return asked

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """What became of it; who has its id may know. Raises PaymentUnknown, PaymentsAbsent."""
        if self._gate is None:
            raise PaymentsAbsent
        return await self._gate.status(payment_id)

    async def page(self, which: Filter, caller: Caller) -> tuple[list[Snapshot], int]:
        """Of the tasks asked for those that are the caller's, and how many there are in all."""
        mine = listed(which, caller)
        return await self._reader.page(mine) if mine is not None else ([], 0)

    async def cancel(self, task_id: str, caller: Caller) -> View:
        """Stop the task. Raises TaskMissing; TaskNotStoppable where it ended or is being, or was, paid for.

        Its payer, proved, may end a paid one that waits for the caller's words: the price goes back to the receipt.
        """
        task = await self._whose.visible(task_id, caller)
        event = status(CANCELED, self._clock.now_us(), text="Canceled by its caller.", message_id=new_id("msg"))
        try:
            if task.price_usd_nanos and self._paying is not None:
                await self._paying.cancel(task, event, owns(caller, task))
            else:
                await self._log.alter(task.id, stop(event))
                self._worker.stop(task.id)
        except TaskEnded as ended:
            raise TaskNotStoppable(f"the task is {ended.state}") from None
        return (await self._reader.snapshot(task)).view

    @contextlib.asynccontextmanager
    async def _begun(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[tuple[Begun, Listener], None]:
        task_id = incoming.task_id or new_id("task")
        with self._reader.listening(task_id) as listener:
            begun = await self._intake.once(task_id, incoming, caller)
            if begun.task.id == task_id:
                yield begun, listener
                return
        with self._reader.listening(begun.task.id) as listener:  # an equal message made it before
            yield await self._intake.as_it_stands(begun.task), listener

    async def _until_settled(self, begun: Begun, listener: Listener) -> AsyncGenerator[Numbered, None]:
        if "status" not in begun.view or begun.view["status"]["state"] in SETTLED:
            return
        async with contextlib.aclosing(self._reader.follow(begun.task, begun.seq, listener)) as events:
            async for seq, event in events:
                yield seq, event
                if state_of(event) in SETTLED:
                    return

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            try:
                await self.tick()
            except Exception as error:
                logger.error("the task runtime's tick failed and comes again: %s", type(error).__name__)
