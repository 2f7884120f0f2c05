"""What may be done to a task as it stands under its lock. Pure: a task in, a change out, or a refusal.

That a task which has ended takes no change at all is not said here: the log refuses it before any rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentnode.a2a.errors import TaskBusy, TaskNotStoppable, TaskTakenOver
from agentnode.a2a.events import Event
from agentnode.a2a.states import INPUT_REQUIRED
from agentnode.a2a.tables import Task

FREE: dict[str, Any] = {"lease_owner": None, "lease_until_us": None}
"""Columns of a task that nobody has in hand."""


@dataclass(frozen=True, slots=True)
class Change:
    """Events to append, in order, and columns of the task to set."""

    events: Sequence[Event] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Task], Change]
"""Decides on a task as it stands under its lock; refuses by raising. Pure and quick."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who has a task in hand, and until when if nobody renews it."""

    owner: str
    until_us: int

    def taking(self, task: Task) -> dict[str, Any]:
        """Columns of the task that is taken."""
        return {"lease_owner": self.owner, "lease_until_us": self.until_us, "fence": task.fence + 1}


def take_to_pay(lease: Lease) -> Rule:
    """Take a task that waits for its payment: one payment at a time, so that no two are settled for one task.

    A lease that has lapsed counts too: whoever held it may have sent money, and only who resumes it asks.
    """

    def rule(task: Task) -> Change:
        if task.state != INPUT_REQUIRED or task.paid or task.lease_until_us is not None:
            raise TaskBusy
        return Change(columns=lease.taking(task))

    return rule


def take_to_go_on(lease: Lease, events: Sequence[Event]) -> Rule:
    """Take a task that waits for its caller's words: free, or paid before."""

    def rule(task: Task) -> Change:
        owed = task.price_usd_nanos and not task.paid
        if task.state != INPUT_REQUIRED or owed or task.lease_until_us is not None:
            raise TaskBusy
        return Change(events, lease.taking(task))

    return rule


def take_over(lease: Lease, now_us: int) -> Rule:
    """Take a task whose worker is gone."""

    def rule(task: Task) -> Change:
        if task.lease_until_us is None or task.leased(now_us):
            raise TaskBusy
        return Change(columns=lease.taking(task))

    return rule


def by_holder(held: Task, events: Sequence[Event], **columns: Any) -> Rule:
    """What the worker writes that has the task in hand; nothing once another has taken it over."""

    def rule(task: Task) -> Change:
        if (task.lease_owner, task.fence) != (held.lease_owner, held.fence):
            raise TaskTakenOver
        return Change(events, columns)

    return rule


def stop(event: Event) -> Rule:
    """Cancel: free work at any time, priced work until its payment is on the way."""

    def rule(task: Task) -> Change:
        _check_stoppable(task)
        return Change([event])

    return rule


def take_to_stop(lease: Lease, by_payer: bool) -> Rule:
    """Take a priced task to cancel it: its requirement must be void before its end is written.

    Who has paid may cancel it while it waits for the caller's words too: nobody else could ever end it.
    """

    def rule(task: Task) -> Change:
        if not (by_payer and task.paid and task.state == INPUT_REQUIRED and task.lease_until_us is None):
            _check_stoppable(task)
        return Change(columns=lease.taking(task))

    return rule


def _check_stoppable(task: Task) -> None:
    if task.paid:
        raise TaskNotStoppable("the task was paid and is being worked on; it runs to its end")
    if task.price_usd_nanos and task.lease_until_us is not None:
        raise TaskNotStoppable("the task's payment is on the way; ask again when it has settled")
