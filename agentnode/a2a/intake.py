"""A message taken in: under its key once, to a new task or to one that is there, paid for where that is asked."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentnode.a2a.errors import TaskBusy, TaskEnded
from agentnode.a2a.events import Event, View, answered, created, fold, said, status, status_of
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import Bind, TaskLog, Written
from agentnode.a2a.paying import Paying
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.rules import take_to_go_on
from agentnode.a2a.skills import Skill, Skills
from agentnode.a2a.states import INPUT_REQUIRED, SUBMITTED, WORKING
from agentnode.a2a.tables import Task
from agentnode.a2a.telling import Telling
from agentnode.a2a.whose import Whose
from agentnode.a2a.worker import Worker
from agentnode.payments import PaymentsAbsent
from ledger.accounts import ANONYMOUS, Caller
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, RequestInProgress
from ledger.ids import new_id
from ledger.work import Idempotency

_VISIBLE = re.compile(r"[\x21-\x7e]{1,200}")
_LEAST_UNGUESSABLE = 22
_TRIES, _TRY_AGAIN_S = 500, 0.02
_MOST_EVENTS_UNPAID = 100


@dataclass(frozen=True)
class Begun:
    """A task, what is seen of it now, up to which event that is, and, where it is new, its events so far."""

    task: Task
    view: View
    seq: int
    fresh: Sequence[Event] = ()


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
        telling: Telling,
        whose: Whose,
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
        self._telling = telling
        self._whose = whose

    async def once(self, task_id: str, incoming: Incoming, caller: Caller) -> Begun:
        """The message taken, or, under a key that came before, the task that it came to."""
        key = incoming.idempotency_key
        if key is None:
            return await self._take(task_id, incoming, caller, None)
        scope = f"a2a:{caller.tenant_id}"
        replay = await self._first(scope, key, incoming.body_hash)
        if replay is not None:
            return await self.as_it_stands(await self._whose.visible(replay, caller))
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
        if not _VISIBLE.fullmatch(key):
            raise InvalidInput("Idempotency-Key", "must be 1 to 200 visible characters")
        for _ in range(_TRIES):
            try:
                replay = await self._idempotency.begin(scope, key, body_hash)
                return None if replay is None else replay.ref
            except RequestInProgress:  # the first is about to name its task
                await asyncio.sleep(_TRY_AGAIN_S)
        raise TaskBusy

    async def _take(self, task_id: str, incoming: Incoming, caller: Caller, bind: Bind | None) -> Begun:
        if incoming.task_id is not None:
            return await self._go_on(incoming.task_id, incoming, caller)
        if incoming.submission is not None:
            raise InvalidInput("message.taskId", "must name the task that is paid")
        skill = self._skills.of(incoming)
        task = self._new(task_id, skill, incoming, caller)
        placed = replace(incoming, message=_placed(incoming.message, task))
        if incoming.push is not None:
            push = await self._telling.checked(incoming.push)
            task.push_since_us = task.created_at_us
            bind = self._telling.with_task(bind, push, caller.tenant_id)
        if skill.direct:
            return await self._answer_only(task, skill, placed)
        if skill.immediate:
            return await self._at_once(task, skill, placed, bind)
        if skill.is_priced:
            return await self._ask_price(task, skill, placed, bind)
        return await self._put_to_work(task, placed, bind)

    async def _at_once(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> Begun:
        """A skill that waits for nothing: one write, when the task has ended. An unfinished one was never there."""
        task.open_key = None
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        rest = await self._worker.at_once(task, skill, self._worker.work_of(task, [incoming.message]))
        return _fresh(await self._log.create(task, [asked, *rest], bind))

    async def _ask_price(self, task: Task, skill: Skill, incoming: Incoming, bind: Bind | None) -> Begun:
        if self._paying is None:
            raise PaymentsAbsent
        if task.open_key is not None and (standing := await self._reader.open(task.open_key)) is not None:
            return await self.as_it_stands(standing)
        priced = await skill.pricing.of(incoming.text, incoming.message)
        if not priced.usd_nanos:
            return await self._put_to_work(task, incoming, bind)
        task.price_usd_nanos = priced.usd_nanos
        return await self._made(task, [await self._paying.require(task, skill, priced, incoming)], bind)

    async def _put_to_work(self, task: Task, incoming: Incoming, bind: Bind | None) -> Begun:
        task.lease_owner, task.lease_until_us, task.fence = self._leases.owner, self._leases.until_us(), 1
        asked = created(incoming.message, status_of(SUBMITTED, task.created_at_us))
        begun = await self._made(task, [asked, status(WORKING, task.created_at_us)], bind)
        if begun.fresh:
            self._worker.begin(begun.task, self._worker.work_of(begun.task, [incoming.message]))
        return begun

    async def _made(self, task: Task, events: Sequence[Event], bind: Bind | None) -> Begun:
        written = await self._log.create(task, events, bind)
        return _fresh(written) if written.events else await self.as_it_stands(written.task)

    async def _go_on(self, task_id: str, incoming: Incoming, caller: Caller) -> Begun:
        """A message to a task that is there: it pays, declines to pay, or finds the task as it stands."""
        task = await self._whose.visible(task_id, caller)
        if incoming.context_id not in (None, task.context_id):
            raise InvalidInput("message.contextId", "is not the task's")
        if incoming.push is not None and not task.ended:
            await self._telling.create(replace(incoming.push, task_id=task.id), caller)
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
        return await self.as_it_stands(task)

    async def _say(self, task: Task, message: dict[str, Any]) -> Begun:
        """The caller's next words on a task; the same again while it is open: as it stands."""
        stands = await self._reader.snapshot(task)
        if stands.task.ended:
            raise TaskEnded(stands.task.state)
        owed = task.price_usd_nanos and not task.paid
        if (owed and task.state == INPUT_REQUIRED) or message in stands.view["history"]:
            return Begun(stands.task, stands.view, stands.seq)
        events = [said(message), status(WORKING, self._clock.now_us())]
        rule = take_to_go_on(self._leases.owner, self._leases.until_us(), events)
        try:
            held = (await self._log.alter(task.id, rule)).task
        except TaskBusy:
            begun = await self.as_it_stands(task)
            if message in begun.view["history"]:
                return begun
            raise
        begun = await self.as_it_stands(held)
        work = self._worker.work_of(held, begun.view["history"])
        if task.paid and self._paying is not None:
            self._worker.hold(held, self._paying.go_on(held, work))
        else:
            self._worker.begin(held, work)
        return begun

    async def _answer_only(self, task: Task, skill: Skill, incoming: Incoming) -> Begun:
        """A message for an answer: nothing is kept of either."""
        answer = await self._worker.one_answer(skill, self._worker.work_of(task, [incoming.message]))
        assert isinstance(answer, str), "a direct skill answers in words"
        task.open_key = None
        return Begun(task, answered(answer, task.context_id, new_id("msg")), 0)

    def _new(self, task_id: str, skill: Skill, incoming: Incoming, caller: Caller) -> Task:
        context_id = incoming.context_id or new_id("ctx")
        if not _VISIBLE.fullmatch(context_id):
            raise InvalidInput("message.contextId", "must be 1 to 200 visible ASCII characters")
        return Task(
            id=task_id,
            context_id=context_id,
            tenant_id=caller.tenant_id,
            skill=skill.id,
            dialect=incoming.dialect,
            x402_version=incoming.x402_version,
            price_usd_nanos=0,
            created_at_us=self._clock.now_us(),
            open_key=_open_key(incoming, caller),
        )

    async def as_it_stands(self, task: Task) -> Begun:
        stands = await self._reader.snapshot(task)
        return Begun(stands.task, stands.view, stands.seq)


def _open_key(incoming: Incoming, caller: Caller) -> str | None:
    """Under which an equal message is the same task.

    None where nobody knows who asks and the message's id could be guessed: the task's id is its secret, and an equal
    message of a stranger's would be told it. 22 characters of base64 carry 128 bits; a UUID has 36.
    """
    if "messageId" not in incoming.asked.get("message", {}):  # the P402 dialect needs none
        return None
    nobody = caller.tenant_id == ANONYMOUS.tenant_id and caller.payer is None
    if nobody and len(incoming.message["messageId"]) < _LEAST_UNGUESSABLE:
        return None
    identity = f"{caller.tenant_id}\0{caller.payer or ''}\0{incoming.request_hash}"
    return hashlib.sha256(identity.encode()).hexdigest()


def _fresh(written: Written) -> Begun:
    task = written.task
    return Begun(task, fold(task.id, task.context_id, written.events), task.seq, written.events)


def _placed(message: dict[str, Any], task: Task) -> dict[str, Any]:
    """The message with the task's own ids: clients of the extension leave the context out."""
    return {**message, "taskId": task.id, "contextId": task.context_id}


async def _bind(idempotency: Idempotency, scope: str, key: str, session: AsyncSession, task_id: str) -> None:
    await idempotency.bind(session, scope, key, task_id)
