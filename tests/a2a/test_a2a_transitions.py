"""What may be done to a task as it stands: a table of tasks, rules and what comes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentnode.a2a import TaskBusy, TaskNotStoppable
from agentnode.a2a.errors import TaskTakenOver
from agentnode.a2a.events import fold, status
from agentnode.a2a.tables import Task
from agentnode.a2a.transitions import Lease, by_holder, stop, take_over, take_to_pay, take_to_stop

NOW = 1_000
LEASE = Lease("two", NOW + 9)
END = status("canceled", NOW)
FREE = Task("task_1", "ctx_1", "public", "slow", "1.0", 2, 0, NOW, state="working", lease_owner="one", fence=3)
HELD = replace(FREE, lease_until_us=NOW + 1)
PRICED = replace(FREE, price_usd_nanos=5, state="input-required", lease_owner=None)
SETTLING = replace(PRICED, lease_owner="one", lease_until_us=NOW + 1)
LAPSED = replace(SETTLING, lease_until_us=NOW)
PAID = replace(PRICED, state="working", receipt_id="rcpt_1")
ASKING = replace(PAID, state="input-required")


@pytest.mark.parametrize(
    ("task", "rule", "refusal"),
    [
        (HELD, take_over(LEASE, NOW), TaskBusy),
        (SETTLING, take_over(LEASE, NOW), TaskBusy),
        (PRICED, take_over(LEASE, NOW), TaskBusy),
        (LAPSED, take_over(LEASE, NOW), None),
        (PRICED, take_to_pay(LEASE), None),
        (SETTLING, take_to_pay(LEASE), TaskBusy),
        (LAPSED, take_to_pay(LEASE), TaskBusy),
        (PAID, take_to_pay(LEASE), TaskBusy),
        (HELD, stop(END), None),
        (PRICED, stop(END), None),
        (SETTLING, stop(END), TaskNotStoppable),
        (LAPSED, stop(END), TaskNotStoppable),
        (PAID, stop(END), TaskNotStoppable),
        (PRICED, take_to_stop(LEASE, by_payer=False), None),
        (SETTLING, take_to_stop(LEASE, by_payer=False), TaskNotStoppable),
        (LAPSED, take_to_stop(LEASE, by_payer=False), TaskNotStoppable),
        (PAID, take_to_stop(LEASE, by_payer=False), TaskNotStoppable),
        (PAID, take_to_stop(LEASE, by_payer=True), TaskNotStoppable),
        (PRICED, take_to_stop(LEASE, by_payer=True), None),
        (SETTLING, take_to_stop(LEASE, by_payer=True), TaskNotStoppable),
        (ASKING, take_to_stop(LEASE, by_payer=False), TaskNotStoppable),
        (ASKING, take_to_stop(LEASE, by_payer=True), None),
        (replace(ASKING, lease_until_us=NOW), take_to_stop(LEASE, by_payer=True), TaskNotStoppable),
        (HELD, by_holder(HELD, [END]), None),
        (replace(HELD, fence=4), by_holder(HELD, [END]), TaskTakenOver),
        (replace(HELD, lease_owner="two"), by_holder(HELD, [END]), TaskTakenOver),
    ],
)
def test_a_rule_allows_or_refuses(task: Task, rule: object, refusal: type[Exception] | None) -> None:
    """Money that is on the way is never walked away from, and only who holds a task writes to it."""
    assert callable(rule)
    if refusal is None:
        rule(task)
    else:
        with pytest.raises(refusal):
            rule(task)


def test_taking_a_task_raises_its_fence() -> None:
    """Whoever held it before writes nothing any more."""
    assert take_over(LEASE, NOW)(LAPSED).columns == {
        "lease_owner": "two",
        "lease_until_us": NOW + 9,
        "fence": 4,
    }


def test_work_begun_anew_replaces_what_was_half_said() -> None:
    """The first piece of a second attempt is not appended to the first attempt's."""

    def piece(text: str, append: bool) -> dict[str, object]:
        artifact = {"artifactId": "answer", "name": "n", "parts": [{"text": text}]}
        return {"kind": "artifact", "artifact": artifact, "append": append, "last": False}

    begun = {"kind": "task", "status": {"state": "working", "at_us": NOW}, "history": []}
    view = fold("t", "c", [begun, piece("ha", False), piece("lf", True), piece("wh", False), piece("ole", True)])
    assert view["artifacts"][0]["parts"] == [{"text": "whole"}]
