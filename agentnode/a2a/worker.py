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

from agentnode.a2a.errors import SkillFailed, TaskBusy, TaskEnded, TaskTakenOver
from agentnode.a2a.events import Event, View, artifact, failed, status, text_of
from agentnode.a2a.gate import Gate
from agentnode.a2a.leases import Leases
from agentnode.a2a.log import TaskLog, Written
from agentnode.a2a.reading import TaskReader
from agentnode.a2a.rules import by_holder, take_over
from agentnode.a2a.skills import Skill, Skills, Work
from agentnode.a2a.states import COMPLETED
from agentnode.a2a.tables import Task
from agentnode.payments import Receipt
from agentnode.payments.metadata import completed_metadata
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
            answer = skill.run(work)
            assert not isinstance(answer, AsyncGenerator), "an immediate skill answers in one piece"
            said = artifact(await answer, name=skill.name, last=True)
        except Exception as error:
            return [failed(_told(error, task), self._clock.now_us(), new_id("msg"))]
        return [said, status(COMPLETED, self._clock.now_us())]

    async def work(self, held: Task, work: Work, receipts: Sequence[Receipt] = ()) -> None:
        """Run the skill and write the end of the task: completed, or failed with the error's code."""
        paid = completed_metadata(receipts, held.x402_version) if receipts else None
        try:
            skill = self._skills.named(held.skill)
            rest = await self._answer(held, skill, work)
            if receipts and self._gate is not None:
                await self._gate.book(held.id)
            await self.append(held, [*rest, self._completed(paid)])
        except _LOST:
            return
        except DatabaseUnavailable:
            raise  # left to be resumed: the work may be done and only its end not written
        except Exception as error:
            told = failed(_told(error, held), self._clock.now_us(), new_id("msg"), paid)
            with contextlib.suppress(*_LOST):
                await self.append(held, [told])

    def _completed(self, paid: dict[str, Any] | None) -> Event:
        text = "Paid and done." if paid else ""
        return status(COMPLETED, self._clock.now_us(), text=text, metadata=paid, message_id=new_id("msg"))

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
        work = self.work_of(held, view["history"][0], attempt=held.fence)
        if receipts and self._gate is not None:
            # What was done before the crash may have been booked, and only its end not written.
            work = replace(work, revenue_usd_nanos=await self._gate.unbooked_usd_nanos(held.id))
        await self.work(held, work, receipts)

    def work_of(self, task: Task, message: dict[str, Any], attempt: int = 1) -> Work:
        return Work(
            text=text_of(message),
            task_id=task.id,
            context_id=task.context_id,
            caller=Caller(task.tenant_id, None, frozenset(), task.payer),
            revenue_usd_nanos=task.price_usd_nanos if task.paid else 0,
            receipt_id=task.receipt_id,
            payment_id=task.payment_id,
            attempt=attempt,
        )

    async def _answer(self, held: Task, skill: Skill, work: Work) -> list[Event]:
        """What the skill says, but for what was already appended while it said it."""
        answer = skill.run(work)
        if not isinstance(answer, AsyncGenerator):
            return [artifact(await answer, name=skill.name, last=True)]
        async with contextlib.aclosing(answer):
            return await self._stream(held, skill, answer)

    async def _stream(self, held: Task, skill: Skill, chunks: AsyncIterator[str]) -> list[Event]:
        """Append each chunk as it comes; those that come during a write share the next one."""
        waiting: list[str] = []
        said = False

        async def say() -> None:
            nonlocal said
            while waiting:
                event = artifact("".join(waiting), name=skill.name, append=said)
                waiting.clear()
                said = True
                await self.append(held, [event])

        saying: asyncio.Task[None] | None = None
        try:
            async for chunk in chunks:
                waiting.append(chunk)
                if saying is None or saying.done():
                    if saying is not None:
                        saying.result()
                    saying = asyncio.create_task(say())
            rest, waiting = waiting, []
        finally:
            if saying is not None:
                await asyncio.wait({saying})
                _ = saying.cancelled() or saying.exception()  # whoever stops the work need not hear of it again
        if saying is not None:
            saying.result()
        if said and not rest:
            return []
        return [artifact("".join(rest), name=skill.name, append=said, last=True)]

    def _let_go(self, task_id: str, done: asyncio.Task[None]) -> None:
        if self._held.get(task_id) is done:
            del self._held[task_id]
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("task %s is left to be resumed: %s", task_id, type(error).__name__)


def _told(error: Exception, held: Task) -> AgentNodeError:
    """What the caller hears of a failure: all of it where the caller can mend it, else the code only."""
    if not isinstance(error, AgentNodeError):
        # The message of a foreign error may hold content: the log gets its type and place.
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("skill %s broke: %s at %s:%s", held.skill, type(error).__name__, place.filename, place.lineno)
        return SkillFailed()
    return error if error.status in _CALLERS_TO_MEND else SkillFailed.of(error)
