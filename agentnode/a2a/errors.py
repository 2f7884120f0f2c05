"""Why a request about a task was refused.

TaskMissing           404  TASK_NOT_FOUND: no such task, or not the caller's
TaskEnded             409  TASK_ENDED: terminal is final
TaskBusy              409  TASK_BUSY: it is being worked on and takes no message now
TaskNotStoppable      409  TASK_NOT_STOPPABLE: it ended, or its payment is on the way or spent
TaskPaidByAnother     409  DUPLICATE_NONCE: another payment of this task came first
PaymentUnderWay       409  SETTLEMENT_PENDING: another payment of this task is being settled
TaskTakenOver         409  TASK_TAKEN_OVER: this worker's lease ran out, what it has in hand is not written
SkillUnknown          400  SKILL_UNKNOWN
SkillFailed           500  SKILL_FAILED: the skill broke; what broke is in the node's log, not in the answer
"""

from __future__ import annotations

from ledger.errors import AgentNodeError, Conflict, InvalidInput, NotFound


class TaskMissing(NotFound):
    """There is no such task, or it is not the caller's."""

    code = "TASK_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("the task was not found")


class TaskEnded(Conflict):
    """The task has ended, and terminal is final."""

    code = "TASK_ENDED"

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"the task is {state}; send a message without a taskId for a new one")


class TaskBusy(Conflict):
    """The task is being worked on and takes no message now."""

    code = "TASK_BUSY"
    retry_after_ms = 1_000

    def __init__(self) -> None:
        super().__init__("the task is being worked on; wait for its end")


class TaskNotStoppable(Conflict):
    """The task ended, or its payment is on the way or spent on it."""

    code = "TASK_NOT_STOPPABLE"


class TaskPaidByAnother(Conflict):
    """Another payment of this task came first; this one was not charged."""

    code = "DUPLICATE_NONCE"

    def __init__(self) -> None:
        super().__init__("the task was paid by another payment; this one was not charged")


class PaymentUnderWay(Conflict):
    """Another payment of the task is being settled."""

    code = "SETTLEMENT_PENDING"
    retry_after_ms = 2_000
    says = "A payment of this task is being settled."

    def __init__(self) -> None:
        super().__init__(self.says)


class TaskTakenOver(Conflict):
    """The lease of this worker ran out and another has the task: what is in hand here must not be written."""

    code = "TASK_TAKEN_OVER"

    def __init__(self) -> None:
        super().__init__("another worker has the task")


class SkillUnknown(InvalidInput):
    """No skill of this node has the name."""

    code = "SKILL_UNKNOWN"

    def __init__(self, skill: str, known: list[str]) -> None:
        super().__init__("metadata.skill", f"names no skill of this agent ({skill!r}); there are {', '.join(known)}")


class SkillFailed(AgentNodeError):
    """The skill broke; what broke is in the node's log."""

    code = "SKILL_FAILED"

    def __init__(self, message: str = "the skill could not do the work") -> None:
        super().__init__(message)

    @classmethod
    def of(cls, error: AgentNodeError) -> SkillFailed:
        """The failure under the error's own code, without its words: they are the operator's, not the caller's."""
        made = type(type(error).__name__, (cls,), {"code": error.code, "status": error.status})()
        assert isinstance(made, SkillFailed)
        made.retry_after_ms = error.retry_after_ms
        return made
