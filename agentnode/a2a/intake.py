"""A message taken in: under its key once, to a new task or to one that is there, paid for where that is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentnode.a2a.access import visible
from agentnode.a2a.answering import one_answer
from agentnode.a2a.batch import Bind, Written
from agentnode.a2a.errors import TaskBusy, TaskEnded
from agentnode.a2a.events import Event, answered, created, fold, said, status, status_of
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog
from agentnode.a2a.paying import Paying
from agentnode.a2a.pushes import TaskPushes
from agentnode.a2a.reader import Snapshot, TaskReader
from agentnode.a2a.skills import Skill, Skills
from agentnode.a2a.states import INPUT_REQUIRED, SUBMITTED, WORKING
from agentnode.a2a.tables import Task
from agentnode.a2a.transitions import take_to_go_on
from agentnode.a2a.worker import Worker, work_of
from agentnode.payments import PaymentsAbsent
from ledger.accounts import Caller
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, RequestInProgress
from ledger.ids import new_id
from ledger.work import Idempotency

_VISIBLE = re.compile(r"[\x21-\x7e]{1,200}")
_TRIES, _TRY_AGAIN_S = 500, 0.02
_MOST_EVENTS_UNPAID = 240


class Intake:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        idempotency: Idempotency,
        skills: Skills,
        log: TaskLog,
        reader: TaskReader,
        leases: Leases,
        worker: Worker,
        paying: Paying | None,
        pushes: TaskPushes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._idempotency = idempotency
        self._skills = skills
        self._log = log
        self._reader = reader
        self._leases = leases
        self._worker = worker
        self._paying = paying
        self._pushes = pushes

    async def once(self, task_id: str, incoming: Incoming, caller: Caller) -> Snapshot:
        """The message taken, or, under a key that came before, the task that it came to."""
        key = incoming.idempotency_key
        if key is None:
            return await self._take(task_id, incoming, caller, None)
        scope = f"a2a:{caller.tenant_id}"
        replay = await self._first(scope, key, incoming.body_hash)
        if replay is not None:
            return await self._reader.snapshot(await visible(self._reader, replay, caller))

        async def bind(session: AsyncSession, made: str) -> None:
            await self._idempotency.bind(session, scope, key, made)

        try:
            begun = await self._take(task_id, incoming, caller, bind)
        except BaseException:
            await self._idempotency.abandon(scope, key)
            raise
        if "messageId" in begun.view:  # of an answer that is a message nothing is kept, its key neither
            await self._idempotency.abandon(scope, key)
        elif not begun.fresh:  # a new task was bound as it was written
            async with self._database.write() as session:
                await bind(session, begun.task.id)
        return begun

    async def _first(self, scope: str, key: str, body_hash: str) -> str | None:
        """None where this request is the first under its key, else the task that the first one made."""
        if not _VISIBLE.fullmatch(key):
            raise InvalidInput("Idempotency-Key", "must be 1 to 200 visible characters")
        for _ in range(_TRIES):
            try:
                replay = await self._idempotency.begin(scope, key, body_hash)
                return None if replay is None else replay.ref
            except RequestInProgress:  # the first is about to name its task
                await asyncio.sleep(_TRY_AGAIN_S)
        raise TaskBusy

    async def _take(self, task_id: str, incoming: Incoming, caller: Caller, bind: Bind | None) -> Snapshot:
        if incoming.task_id is not None:
            return await self._go_on(incoming.task_id, incoming, caller)
        if incoming.submission is not None:
            raise InvalidInput("message.taskId", "must name the task that is paid")
        skill = self._skills.of(incoming)
        task = self._new(task_id, skill, incoming, caller.tenant_id)
        placed = replace(incoming, message=_placed(incoming.message, task))
        if incoming.push is not None:
            bind = await self._pushes.with_new_task(bind, incoming.push, caller.tenant_id)
            task.push_since_us = task.created_at_us
        if skill.direct:
            return await self._answer_only(task, skill, placed)
        if skill.immediate:
            return await self._at_once(task, skill, placed, bind)
        task.open_key = incoming.open_key(caller)
        if skill.is_priced:
            return await self._ask_price(task, skill, placed, bind)
        return await self._put_to_work(task, placed, bind)

    async def _at_once(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> Snapshot:
        """A skill that waits for nothing: one write, when the task has ended. An unfinished one was never there."""
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        rest = await self._worker.at_once(task, skill, work_of(task, [incoming.message]))
        return _fresh(await self._log.create(task, [asked, *rest], bind))

    async def _ask_price(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> Snapshot:
        if self._paying is None:
            raise PaymentsAbsent
        if task.open_key is not None and (standing := await self._reader.open(task.open_key)) is not None:
            return await self._reader.snapshot(standing)
        priced = await skill.price.of(incoming.text, incoming.message)
        if not priced.usd_nanos:
            return await self._put_to_work(task, incoming, bind)
        task.price_usd_nanos = priced.usd_nanos
        return await self._made(task, [await self._paying.require(task, skill, priced, incoming)], bind)

    async def _put_to_work(self, task: Task, incoming: Incoming, bind: Bind | None) -> Snapshot:
        lease = self._leases.new()
        task.lease_owner, task.lease_until_us, task.fence = lease.owner, lease.until_us, 1
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        begun = await self._made(task, [asked, status(WORKING, task.created_at_us)], bind)
        if begun.fresh:
            self._begin(begun.task, [incoming.message])
        return begun

    async def _made(self, task: Task, events: Sequence[Event], bind: Bind | None) -> Snapshot:
        written = await self._log.create(task, events, bind)
        return _fresh(written) if written.events else await self._reader.snapshot(written.task)

    async def _go_on(self, task_id: str, incoming: Incoming, caller: Caller) -> Snapshot:
        """A message to a task that is there: it pays, declines to pay, or finds the task as it stands."""
        task = await visible(self._reader, task_id, caller)
        if incoming.context_id not in (None, task.context_id):
            raise InvalidInput("message.contextId", "is not the task's")
        if incoming.push is not None and not task.ended:
            await self._pushes.create(replace(incoming.push, task_id=task.id), caller)
        message = _placed(incoming.message, task)
        submission = incoming.submission
        if submission is None or not task.price_usd_nanos:
            return await self._say(task, message)
        elif self._paying is None:
            raise PaymentsAbsent
        elif not task.paid and task.seq > _MOST_EVENTS_UNPAID:  # each is kept, and read with the task
            raise InvalidInput("message.taskId", "names a task of which too many payments were refused; begin another")
        elif submission.status == "payment-rejected":
            task = await self._paying.reject(task, message)
        else:
            task = await self._paying.submit(task, message, submission.payload)
        return await self._reader.snapshot(task)

    async def _say(self, task: Task, message: dict[str, Any]) -> Snapshot:
        """The caller's next words on a task; the same again while it is open: as it stands."""
        stands = await self._reader.snapshot(task)
        if stands.task.ended:
            raise TaskEnded(stands.task.state)
        owed = task.price_usd_nanos and not task.paid
        if (owed and task.state == INPUT_REQUIRED) or message in stands.view["history"]:
            return stands
        rule = take_to_go_on(self._leases.new(), [said(message), status(WORKING, self._clock.now_us())])
        try:
            held = (await self._log.alter(task.id, rule)).task
        except TaskBusy:
            stands = await self._reader.snapshot(task)
            if message in stands.view["history"]:
                return stands
            raise
        begun = await self._reader.snapshot(held)
        if task.paid and self._paying is not None:
            self._paying.go_on(held)
        else:
            self._begin(held, begun.view["history"])
        return begun

    def _begin(self, held: Task, history: Sequence[dict[str, Any]]) -> None:
        self._leases.hold(held, self._worker.work(held, work_of(held, history)))

    async def _answer_only(self, task: Task, skill: Skill, incoming: Incoming) -> Snapshot:
        """A message for an answer: nothing is kept of either."""
        answer = await one_answer(skill, work_of(task, [incoming.message]))
        assert isinstance(answer, str), "a direct skill answers in words"
        return Snapshot(task, answered(answer, task.context_id, new_id("msg")), 0)

    def _new(self, task_id: str, skill: Skill, incoming: Incoming, tenant_id: str) -> Task:
        context_id = incoming.context_id or new_id("ctx")
        if not _VISIBLE.fullmatch(context_id):
            raise InvalidInput("message.contextId", "must be 1 to 200 visible ASCII characters")
        return Task(
            id=task_id,
            context_id=context_id,
            tenant_id=tenant_id,
            skill=skill.id,
            dialect=incoming.dialect,
            x402_version=incoming.x402_version,
            price_usd_nanos=0,
            created_at_us=self._clock.now_us(),
        )


def _fresh(written: Written) -> Snapshot:
    task = written.task
    return Snapshot(task, fold(task.id, task.context_id, written.events), task.seq, written.events)


def _placed(message: dict[str, Any], task: Task) -> dict[str, Any]:
    """The message with the task's own ids: clients of the extension leave the context out."""
    return {**message, "taskId": task.id, "contextId": task.context_id}
