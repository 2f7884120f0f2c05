"""A bundle's event proves the purchase and tells nothing else of the node that sealed it."""

from __future__ import annotations

from typing import Any

import pytest

from agentnode.evidence.collect import event_line
from ledger.events import EconomicEvent, EventDraft

PROVING = {"id", "kind", "at_us", "task_id", "payment_id", "receipt_id", "mandate_id", "mandate_use_id"}


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("hire", "cost_usd_nanos"), ("engine_call", "revenue_usd_nanos"), ("paid_task", "revenue_usd_nanos")],
)
def test_an_event_in_a_bundle_has_only_what_proves_the_purchase(kind: Any, amount: str) -> None:
    """No upstream cost, provider, model or trace: whoever has a task's id can ask for its bundle."""
    draft = EventDraft(
        kind=kind,
        tenant_id="node",
        provider="acme",
        model="acme/large",
        cost_usd_nanos=7,
        revenue_usd_nanos=7,
        upstream_cost_usd_nanos=5,
        trace={"bound_usd_nanos": 9},
    )
    line = event_line(EconomicEvent(**draft.as_row(), at_us=1))
    assert line["kind"] == "event"
    assert set(line["event"]) == PROVING | {amount}
    assert line["event"][amount] == "7"
