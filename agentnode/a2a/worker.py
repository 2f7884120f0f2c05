"""The work on a task in hand: its skill runs, what it says is appended as it comes, and the task reaches its end."""

from __future__ import annotations

import contextlib
import functools
import logging
import traceback
from collections.abc import Sequence
from typing import Any

from agentnode.a2a.answering import one_answer, outcome_of, perform
from agentnode.a2a.errors import SkillFailed, TaskEnded, TaskTakenOver
from agentnode.a2a.events import Event, asked_last, failed, status, text_of
from agentnode.a2a.log import TaskLog
from agentnode.a2a.skills import Done, Ending, NeedsInput, Rejected, Skill, Skills, Work
from agentnode.a2a.states import COMPLETED, INPUT_REQUIRED, REJECTED
from agentnode.a2a.tables import Task
from agentnode.a2a.toll_gate import Gate
from agentnode.a2a.transitions import FREE
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


class Worker:
    """`gate` is None on a node that cannot be paid: there no work has a receipt."""

    def __init__(self, log: TaskLog, skills: Skills, clock: Clock, gate: Gate | None) -> None:
        self._log = log
        self._skills = skills
        self._clock = clock
        self._gate = gate

    async def at_once(self, task: Task, skill: Skill, work: Work) -> list[Event]:
        """All that a skill says that waits for nothing: its answer and its end, or its failure."""
        try:
            said, ending = outcome_of(skill, await one_answer(skill, work))
        except Exception as error:
            return [failed(_told(error, task.skill), self._clock.now_us(), new_id("msg"))]
        return [*said, self._end(ending, None)]

    async def work(self, held: Task, work: Work, receipt: Receipt | None = None) -> None:
        """Run the skill and write what became of the task: completed, back to its caller, or failed with a code."""
        paid = completed_metadata([receipt], held.x402_version) if receipt else None
        try:
            rest, ending = await perform(
                self._skills.named(held.skill), work, functools.partial(self._log.append, held)
            )
            if isinstance(ending, NeedsInput):
                await self._log.append(held, [*rest, self._end(ending, None)], **FREE)
                return
            if receipt and self._gate is not None:
                await self._log.append(held, [])  # who slept, and has lost the task, moves no money for it
                await (self._gate.give_back if isinstance(ending, Rejected) else self._gate.book)(held.id)
            await self._log.append(held, [*rest, self._end(ending, paid)])
        except _LOST:
            return
        except DatabaseUnavailable:
            raise  # left to be resumed: the work may be done and only its end not written
        except Exception as error:
            told = failed(_told(error, held.skill), self._clock.now_us(), new_id("msg"), paid)
            with contextlib.suppress(*_LOST):
                if receipt and self._gate is not None:
                    await self._log.append(held, [])
                    await self._gate.give_back(held.id)  # before the end is written, after which nobody looks again
                await self._log.append(held, [told])

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


def work_of(task: Task, history: Sequence[dict[str, Any]], attempt: int = 1) -> Work:
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


def _told(error: Exception, skill_id: str) -> AgentNodeError:
    """What the caller hears of a failure: all of it where the caller can mend it, else the code only."""
    if not isinstance(error, AgentNodeError):
        # The message of a foreign error may hold content: the log gets its type and place.
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("skill %s broke: %s at %s:%s", skill_id, type(error).__name__, place.filename, place.lineno)
        return SkillFailed()
    return error if error.status in _CALLERS_TO_MEND else SkillFailed.of(error)
