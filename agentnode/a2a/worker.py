"""The work on tasks in this process: skills run, what they say is appended as it comes, and each task reaches its end.

Work that another process left is taken over when its lease has run out: a paid task asks the toll gate first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from agentnode.a2a.answers import Answer, Done, Ending, NeedsInput, Rejected, Saying
from agentnode.a2a.errors import SkillFailed, TaskBusy, TaskEnded, TaskTakenOver
from agentnode.a2a.events import Event, View, asked_last, failed, status, text_of
from agentnode.a2a.gate import Gate
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog, Written
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.rules import FREE, by_holder, take_over
from agentnode.a2a.skills import Skill, Skills, Work
from agentnode.a2a.states import COMPLETED, INPUT_REQUIRED, REJECTED
from agentnode.a2a.tables import Task
from agentnode.payments import Receipt
from agentnode.payments.asking.task_metadata import completed_metadata
from ledger.accounts import Caller
from ledger.clock import Clock
from ledger.errors import AgentNodeError, DatabaseUnavailable
from ledger.ids import new_id

logger = logging.getLogger(__name__)

_LOST = (TaskEnded, TaskTakenOver)
"""The task is no longer this worker's: it was cancelled, or another has it."""
_CALLERS_TO_MEND = frozenset({400, 404, 409, 413, 422})


class Settles(Protocol):
    """Finds out what became of a payment that was under way when its worker died."""

    async def recover(self, held: Task, view: View) -> tuple[Task, Receipt] | None:
        """The paid task and its receipt; None where there is no work to do now, and the task was let go."""
        ...


class Worker:
    def __init__(
        self, log: TaskLog, reader: TaskReader, leases: Leases, skills: Skills, clock: Clock, gate: Gate | None
    ) -> None:
        self._log = log
        self._gate = gate
        self._reader = reader
        self._leases = leases
        self._skills = skills
        self._clock = clock
        self._held: dict[str, asyncio.Task[None]] = {}

    async def renew(self) -> None:
        """Keep the leases of what is at work here, and stop what was cancelled or taken over elsewhere."""
        for task_id in await self._leases.renew(self._held) if self._held else ():
            self.stop(task_id)

    def stop(self, task_id: str) -> None:
        """Stop the work at once, without waiting for what the skill waits for."""
        if job := self._held.get(task_id):
            job.cancel()

    async def close(self) -> None:
        """Stop all work and leave it to others."""
        jobs = list(self._held.values())
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs)
        await self._leases.let_go()

    def hold(self, task: Task, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do the work in a task of its own, whoever asked for it stays or goes; its lease is renewed meanwhile."""
        job = asyncio.create_task(work, name=f"a2a {task.id}")
        self._held[task.id] = job
        job.add_done_callback(lambda done: self._let_go(task.id, done))
        return job

    def begin(self, task: Task, work: Work) -> None:
        self.hold(task, self.work(task, work))

    async def at_once(self, task: Task, skill: Skill, work: Work) -> list[Event]:
        """All that a skill says that waits for nothing: its answer and its end, or its failure."""
        try:
            answer = await self.one_answer(skill, work)
        except Exception as error:
            return [failed(_told(error, task.skill), self._clock.now_us(), new_id("msg"))]
        if isinstance(answer, Ending):
            return [self._end(answer, None)]
        return [*Saying(skill.name).events([answer], last=True), self._end(None, None)]

    async def one_answer(self, skill: Skill, work: Work) -> Answer:
        answer = skill.run(work)
        assert not isinstance(answer, AsyncGenerator), "a skill that is answered at once answers in one piece"
        return await answer

    async def work(self, held: Task, work: Work, receipts: Sequence[Receipt] = ()) -> None:
        """Run the skill and write what became of the task: completed, back to its caller, or failed with a code."""
        paid = completed_metadata(receipts, held.x402_version) if receipts else None
        try:
            skill = self._skills.named(held.skill)
            rest, ending = await self._answer(held, skill, work)
            if isinstance(ending, NeedsInput):
                await self.append(held, [*rest, self._end(ending, None)], **FREE)
                return
            if receipts and self._gate is not None:
                await (self._gate.give_back if isinstance(ending, Rejected) else self._gate.book)(held.id)
            await self.append(held, [*rest, self._end(ending, paid)])
        except _LOST:
            return
        except DatabaseUnavailable:
            raise  # left to be resumed: the work may be done and only its end not written
        except Exception as error:
            told = failed(_told(error, held.skill), self._clock.now_us(), new_id("msg"), paid)
            if receipts and self._gate is not None:
                await self._gate.give_back(held.id)  # before the end is written, after which nobody looks again
            with contextlib.suppress(*_LOST):
                await self.append(held, [told])

    def _end(self, ending: Ending | None, paid: dict[str, Any] | None) -> Event:
        state, text = COMPLETED, "Paid and done." if paid else ""
        match ending:
            case NeedsInput(said):
                state, text = INPUT_REQUIRED, said
            case Rejected(said):
                state, text = REJECTED, said
            case Done(said):
                text = said
        return status(state, self._clock.now_us(), text=text, metadata=paid, message_id=new_id("msg"))

    async def append(self, held: Task, events: Sequence[Event], **columns: Any) -> Written:
        """Write as the one who has the task in hand. Raises TaskTakenOver, TaskEnded."""
        return await self._log.alter(held.id, by_holder(held, events, **columns))

    async def resume(self, left: Task, gate: Settles | None) -> None:
        """Take over a task whose worker is gone, and bring it to its end."""
        rule = take_over(self._leases.owner, self._leases.until_us(), self._clock.now_us())
        try:
            held = (await self._log.alter(left.id, rule)).task
        except (TaskBusy, TaskEnded):
            return
        self.hold(held, self._resumed(held, gate))

    async def _resumed(self, held: Task, gate: Settles | None) -> None:
        view = (await self._reader.snapshot(held)).view
        receipts: list[Receipt] = []
        if held.price_usd_nanos:
            assert gate is not None, "priced tasks are left alone where nothing can be paid"
            recovered = await gate.recover(held, view)
            if recovered is None:
                return
            held, receipt = recovered
            receipts.append(receipt)
        work = self.work_of(held, view["history"], attempt=held.fence)
        if receipts and self._gate is not None:
            # What was done before the crash may have been booked, and only its end not written.
            work = replace(work, revenue_usd_nanos=await self._gate.unbooked_usd_nanos(held.id))
        await self.work(held, work, receipts)

    def work_of(self, task: Task, history: Sequence[dict[str, Any]], attempt: int = 1) -> Work:
        """What the skill gets: the caller's last message that is not about a payment, and what was said before it."""
        index = asked_last(history)
        return Work(
            text=text_of(history[index]),
            message=history[index],
            history=history[:index],
            task_id=task.id,
            context_id=task.context_id,
            caller=Caller(task.tenant_id, None, frozenset(), task.payer),
            revenue_usd_nanos=task.price_usd_nanos if task.paid else 0,
            receipt_id=task.receipt_id,
            payment_id=task.payment_id,
            attempt=attempt,
        )

    async def _answer(self, held: Task, skill: Skill, work: Work) -> tuple[list[Event], Ending | None]:
        """What the skill says and how it ends, but for what was already appended while it said it."""
        answer = skill.run(work)
        if isinstance(answer, AsyncGenerator):
            async with contextlib.aclosing(answer):
                return await self._stream(held, skill, answer)
        said = await answer
        if isinstance(said, Ending):
            return [], said
        return Saying(skill.name).events([said], last=True), None

    async def _stream(
        self, held: Task, skill: Skill, answers: AsyncIterator[Answer]
    ) -> tuple[list[Event], Ending | None]:
        """Append each answer as it comes; those that come during a write share the next one."""
        saying = Saying(skill.name)
        waiting: list[Any] = []
        ending: Ending | None = None

        async def say() -> None:
            while waiting:
                events = saying.events(waiting)
                waiting.clear()
                await self.append(held, events)

        writing: asyncio.Task[None] | None = None
        try:
            async for answer in answers:
                if isinstance(answer, Ending):
                    ending = answer
                    break
                waiting.append(answer)
                if writing is None or writing.done():
                    if writing is not None:
                        writing.result()
                    writing = asyncio.create_task(say())
            rest, waiting = waiting, []
        finally:
            if writing is not None:
                await asyncio.wait({writing})
                _ = writing.cancelled() or writing.exception()  # whoever stops the work need not hear of it again
        if writing is not None:
            writing.result()
        return saying.events(rest, last=True), ending

    def _let_go(self, task_id: str, done: asyncio.Task[None]) -> None:
        if self._held.get(task_id) is done:
            del self._held[task_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("task %s is left to be resumed: %s", task_id, type(error).__name__)


def _told(error: Exception, skill_id: str) -> AgentNodeError:
    """What the caller hears of a failure: all of it where the caller can mend it, else the code only."""
    if not isinstance(error, AgentNodeError):
        # The message of a foreign error may hold content: the log gets its type and place.
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("skill %s broke: %s at %s:%s", skill_id, type(error).__name__, place.filename, place.lineno)
        return SkillFailed()
    return error if error.status in _CALLERS_TO_MEND else SkillFailed.of(error)
