"""The task runtime: a message becomes a task, is paid for where that is asked, worked on, and brought to its end.

Every method takes the caller; a task that is not the caller's is missing. A task made without a key has no owner: its
id is the secret (hard case 32).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentnode.a2a.errors import TaskBusy, TaskEnded, TaskMissing, TaskNotStoppable
from agentnode.a2a.events import Event, View, apply, created, fold, state_of, status, status_of
from agentnode.a2a.hints import Hints, Listener
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import Bind, TaskLog, Written
from agentnode.a2a.paying import Gate, Paying
from agentnode.a2a.reading import Filter, Snapshot, TaskReader
from agentnode.a2a.rules import stop
from agentnode.a2a.skills import Skill, Skills
from agentnode.a2a.states import CANCELED, INPUT_REQUIRED, SETTLED, SUBMITTED, TERMINAL, WORKING
from agentnode.a2a.tables import Task
from agentnode.a2a.worker import Worker
from agentnode.payments import PaymentsAbsent
from ledger.accounts import ANONYMOUS, Caller
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, RequestInProgress
from ledger.ids import new_id
from ledger.vault import Vault
from ledger.work import Idempotency

logger = logging.getLogger(__name__)

_TASK_ID = re.compile(r"task_[0-9a-f]{32}")
_OUR_CONTEXT = re.compile(r"ctx_[0-9a-f]{32}")
_ANY_CONTEXT = re.compile(r"[\x21-\x7e]{1,200}")
_ANY_KEY = _ANY_CONTEXT
_TRIES, _TRY_AGAIN_S = 500, 0.02


@dataclass(frozen=True)
class _Begun:
    """A task, what is seen of it now, up to which event that is, and, where it is new, its events so far."""

    task: Task
    view: View
    seq: int
    fresh: Sequence[Event] = ()


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
        lease_s: float = 15.0,
        tick_s: float = 2.0,
        poll_s: float = 0.25,
    ) -> None:
        hints = Hints()
        self.skills = skills
        self._database = database
        self._clock = clock
        self._idempotency = idempotency
        self._tick_s = tick_s
        self._reader = TaskReader(database, vault, hints, poll_s)
        self._log = TaskLog(database, vault, clock, hints)
        self._leases = Leases(database, clock, owner, lease_s)
        self._worker = Worker(self._log, self._reader, self._leases, skills, clock)
        self._paying: Paying | None = None
        if gate is not None:
            self._paying = Paying(gate, self._log, self._reader, self._leases, self._worker, clock, resource)
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
        """What is due: leases renewed, tasks of dead workers taken over, quotes that ran out ended."""
        await self._worker.renew()
        await self.resume_abandoned()
        if self._paying is not None:
            for task in await self._leases.unpaid():
                await self._paying.expire(task)

    async def resume_abandoned(self) -> None:
        """Take over the tasks whose worker is gone, and bring each to its end."""
        for task in await self._leases.lapsed():
            if task.price_usd_nanos == 0 or self._paying is not None:
                await self._worker.resume(task, self._paying)

    async def send(self, incoming: Incoming, caller: Caller, wait: bool = True) -> View:
        """The task that the message made or went to: as it is at first, or once it ended or needs its caller.

        Raises SkillUnknown, InvalidInput, TaskMissing, TaskEnded, TaskBusy, PaymentsAbsent, IdempotencyConflict,
        and what Paying.submit raises.
        """
        async with self._begun(incoming, caller) as (begun, listener):
            if wait:
                async with contextlib.aclosing(self._until_settled(begun, listener)) as events:
                    async for event in events:
                        apply(begun.view, event)
            return begun.view

    async def stream(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[View | Event, None]:
        """The task at first, then each of its events, until it has ended or needs its caller. Raises as `send`."""
        async with self._begun(incoming, caller) as (begun, listener):
            if begun.fresh:
                yield fold(begun.task.id, begun.task.context_id, begun.fresh[:1])
                for event in begun.fresh[1:]:
                    yield event
            else:
                yield begun.view
            async with contextlib.aclosing(self._until_settled(begun, listener)) as events:
                async for event in events:
                    yield event

    async def subscribe(self, task_id: str, caller: Caller) -> AsyncGenerator[View | Event, None]:
        """The task as it stands, then each of its events until its end. Raises TaskMissing, TaskEnded."""
        task = await self._visible(task_id, caller)
        with self._reader.listening(task.id) as listener:
            stands = await self._reader.snapshot(task)
            if (state := stands.view["status"]["state"]) in TERMINAL:
                raise TaskEnded(state)
            yield stands.view
            async with contextlib.aclosing(self._reader.follow(task, stands.seq, listener)) as events:
                async for _, event in events:
                    yield event
                    if state_of(event) in TERMINAL:
                        return

    async def get(self, task_id: str, caller: Caller) -> View:
        """Raises TaskMissing."""
        return (await self._reader.snapshot(await self._visible(task_id, caller))).view

    async def page(self, which: Filter, caller: Caller) -> tuple[list[Snapshot], int]:
        """The caller's tasks: its tenant's, and those that it has proved to have paid for.

        Without either, those of a context whose id this node made: it is as secret as a task's.
        """
        if caller.tenant_id != ANONYMOUS.tenant_id:
            which = replace(which, tenant_id=caller.tenant_id, payer=caller.payer)
        elif caller.payer is not None:
            which = replace(which, payer=caller.payer)
        elif which.context_id is not None and _OUR_CONTEXT.fullmatch(which.context_id):
            which = replace(which, tenant_id=caller.tenant_id)
        else:
            return [], 0
        return await self._reader.page(which)

    async def cancel(self, task_id: str, caller: Caller) -> View:
        """Stop the task. Raises TaskMissing; TaskNotStoppable where it ended or is being, or was, paid for."""
        task = await self._visible(task_id, caller)
        event = status(CANCELED, self._clock.now_us(), text="Canceled by its caller.", message_id=new_id("msg"))
        try:
            await self._log.alter(task.id, stop(event))
        except TaskEnded as ended:
            raise TaskNotStoppable(f"the task is {ended.state}") from None
        self._worker.stop(task.id)
        if task.price_usd_nanos and self._paying is not None:
            await self._paying.canceled(task)
        return (await self._reader.snapshot(task)).view

    @contextlib.asynccontextmanager
    async def _begun(self, incoming: Incoming, caller: Caller) -> AsyncGenerator[tuple[_Begun, Listener], None]:
        task_id = incoming.task_id or new_id("task")
        with self._reader.listening(task_id) as listener:
            begun = await self._once(task_id, incoming, caller)
            if begun.task.id == task_id:
                yield begun, listener
                return
        with self._reader.listening(begun.task.id) as listener:  # an equal message made it before
            yield await self._as_it_stands(begun.task), listener

    async def _until_settled(self, begun: _Begun, listener: Listener) -> AsyncGenerator[Event, None]:
        if begun.view["status"]["state"] in SETTLED:
            return
        async with contextlib.aclosing(self._reader.follow(begun.task, begun.seq, listener)) as events:
            async for _, event in events:
                yield event
                if state_of(event) in SETTLED:
                    return

    async def _once(self, task_id: str, incoming: Incoming, caller: Caller) -> _Begun:
        """The message taken, or, under a key that came before, the task that it came to."""
        key = incoming.idempotency_key
        if key is None:
            return await self._take(task_id, incoming, caller, None)
        scope = f"a2a:{caller.tenant_id}"
        replay = await self._first(scope, key, incoming.body_hash)
        if replay is not None:
            return await self._as_it_stands(await self._visible(replay, caller))
        bind = functools.partial(_bind, self._idempotency, scope, key)
        try:
            begun = await self._take(task_id, incoming, caller, bind)
        except BaseException:
            await self._idempotency.abandon(scope, key)
            raise
        if incoming.task_id is not None:
            async with self._database.write() as session:
                await bind(session, begun.task.id)
        return begun

    async def _first(self, scope: str, key: str, body_hash: str) -> str | None:
        """None where this request is the first under its key, else the task that the first one made."""
        if not _ANY_KEY.fullmatch(key):
            raise InvalidInput("Idempotency-Key", "must be 1 to 200 visible characters")
        for _ in range(_TRIES):
            try:
                replay = await self._idempotency.begin(scope, key, body_hash)
                return None if replay is None else replay.ref
            except RequestInProgress:  # the first is about to name its task
                await asyncio.sleep(_TRY_AGAIN_S)
        raise TaskBusy

    async def _take(self, task_id: str, incoming: Incoming, caller: Caller, bind: Bind | None) -> _Begun:
        if incoming.task_id is not None:
            return await self._go_on(incoming.task_id, incoming, caller)
        if incoming.submission is not None:
            raise InvalidInput("message.taskId", "must name the task that is paid")
        skill = self.skills.of(*incoming.metadata)
        task = self._new(task_id, skill, incoming, caller)
        placed = replace(incoming, message=_placed(incoming.message, task))
        if skill.immediate:
            return await self._at_once(task, skill, placed, bind)
        if skill.price_usd_nanos:
            return await self._ask_price(task, skill, placed, bind)
        return await self._put_to_work(task, placed, bind)

    async def _at_once(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> _Begun:
        """A skill that waits for nothing: one write, when the task has ended. An unfinished one was never there."""
        task.open_key = None
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        rest = await self._worker.at_once(task, skill, self._worker.work_of(task, incoming.message))
        return _fresh(await self._log.create(task, [asked, *rest], bind))

    async def _ask_price(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> _Begun:
        if self._paying is None:
            raise PaymentsAbsent
        if task.open_key is not None and (standing := await self._reader.open(task.open_key)) is not None:
            return await self._as_it_stands(standing)
        return await self._made(task, [await self._paying.require(task, skill, incoming)], bind)

    async def _put_to_work(self, task: Task, incoming: Incoming, bind: Bind | None) -> _Begun:
        task.lease_owner, task.lease_until_us, task.fence = self._leases.owner, self._leases.until_us(), 1
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        begun = await self._made(task, [asked, status(WORKING, task.created_at_us)], bind)
        if begun.fresh:
            self._worker.begin(begun.task, self._worker.work_of(begun.task, incoming.message))
        return begun

    async def _made(self, task: Task, events: Sequence[Event], bind: Bind | None) -> _Begun:
        written = await self._log.create(task, events, bind)
        return _fresh(written) if written.events else await self._as_it_stands(written.task)

    async def _go_on(self, task_id: str, incoming: Incoming, caller: Caller) -> _Begun:
        """A message to a task that is there: it pays, declines to pay, or finds the task as it stands."""
        task = await self._visible(task_id, caller)
        if incoming.context_id not in (None, task.context_id):
            raise InvalidInput("message.contextId", "is not the task's")
        message = _placed(incoming.message, task)
        submission = incoming.submission
        if submission is None or not task.price_usd_nanos:
            if task.ended:
                raise TaskEnded(task.state)
            if task.state != INPUT_REQUIRED:
                raise TaskBusy
        elif self._paying is None:
            raise PaymentsAbsent
        elif submission.status == "payment-rejected":
            task = await self._paying.reject(task, message)
        else:
            task = await self._paying.submit(task, message, submission.payload)
        return await self._as_it_stands(task)

    def _new(self, task_id: str, skill: Skill, incoming: Incoming, caller: Caller) -> Task:
        context_id = incoming.context_id or new_id("ctx")
        if not _ANY_CONTEXT.fullmatch(context_id):
            raise InvalidInput("message.contextId", "must be 1 to 200 visible ASCII characters")
        identity = f"{caller.tenant_id}\0{caller.payer or ''}\0{incoming.request_hash}"
        return Task(
            id=task_id,
            context_id=context_id,
            tenant_id=caller.tenant_id,
            skill=skill.id,
            dialect=incoming.dialect,
            x402_version=incoming.x402_version,
            price_usd_nanos=skill.price_usd_nanos,
            created_at_us=self._clock.now_us(),
            open_key=hashlib.sha256(identity.encode()).hexdigest(),
        )

    async def _visible(self, task_id: str, caller: Caller) -> Task:
        task = await self._reader.task(task_id) if _TASK_ID.fullmatch(task_id) else None
        if task is None or task.tenant_id not in (ANONYMOUS.tenant_id, caller.tenant_id):
            raise TaskMissing
        return task

    async def _as_it_stands(self, task: Task) -> _Begun:
        stands = await self._reader.snapshot(task)
        return _Begun(stands.task, stands.view, stands.seq)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            try:
                await self.tick()
            except Exception as error:
                logger.error("the task runtime's tick failed and comes again: %s", type(error).__name__)


def _fresh(written: Written) -> _Begun:
    task = written.task
    return _Begun(task, fold(task.id, task.context_id, written.events), task.seq, written.events)


def _placed(message: dict[str, Any], task: Task) -> dict[str, Any]:
    """The message with the task's own ids: clients of the extension leave the context out."""
    return {**message, "taskId": task.id, "contextId": task.context_id}


async def _bind(idempotency: Idempotency, scope: str, key: str, session: AsyncSession, task_id: str) -> None:
    await idempotency.bind(session, scope, key, task_id)
