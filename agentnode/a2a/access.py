"""Who may see a task, list it, end it: another's looks missing.

A task made without a key has no owner: its id is the secret. Who has paid for a task may see it too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from agentnode.a2a.errors import TaskMissing
from agentnode.a2a.reader import Filter, TaskReader
from agentnode.a2a.tables import Task
from ledger.accounts import ANONYMOUS, Caller

_TASK_ID = re.compile(r"task_[0-9a-f]{32}")
_OUR_CONTEXT = re.compile(r"ctx_[0-9a-f]{32}")


async def visible(reader: TaskReader, task_id: str, caller: Caller) -> Task:
    """Raises TaskMissing, for another's too."""
    task = await reader.task(task_id) if _TASK_ID.fullmatch(task_id) else None
    if task is None or not _sees(caller, task):
        raise TaskMissing
    return task


def _sees(caller: Caller, task: Task) -> bool:
    return _has_paid(caller, task) or task.tenant_id in (ANONYMOUS.tenant_id, caller.tenant_id)


def owns(caller: Caller, task: Task) -> bool:
    """Whose money or whose tenant's the task is, beyond having its id."""
    return _has_paid(caller, task) or ANONYMOUS.tenant_id != task.tenant_id == caller.tenant_id


def _has_paid(caller: Caller, task: Task) -> bool:
    return caller.payer is not None and caller.payer == task.payer


def listed(which: Filter, caller: Caller) -> Filter | None:
    """Of the tasks asked for those that are the caller's: its tenant's, and those that it has proved to have paid for.

    Without either, those of a context whose id this node made: it is as secret as a task's. None: there are none.
    """
    if caller.tenant_id != ANONYMOUS.tenant_id:
        return replace(which, tenant_id=caller.tenant_id, payer=caller.payer)
    if caller.payer is not None:
        return replace(which, payer=caller.payer)
    if which.context_id is not None and _OUR_CONTEXT.fullmatch(which.context_id):
        return replace(which, tenant_id=caller.tenant_id)
    return None
