"""The ledger after a run, read from outside and added up row by row: its own sums are not believed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from tests.scenarios.engine_node import reading

SAMPLED = "SELECT coalesce(sum(CASE state WHEN 'held' THEN amount_usd_nanos ELSE captured_usd_nanos END), 0) FROM holds"
"""What is captured and held of all holds, in one snapshot."""


@dataclass(frozen=True)
class Books:
    budgets: dict[str, Any]
    """id: kind, limit_usd_nanos, spent_usd_nanos, held_usd_nanos"""
    holds: list[Any]
    """state, budgets, captured_usd_nanos, sent_at_us, event_id"""
    events: list[Any]
    """id, kind, session_id, request_id, output_tokens, cost_usd_nanos, upstream_cost_usd_nanos, overrun_usd_nanos,
    decision, estimated, corrects, number"""
    movements: list[Any]
    """kind, event_id, usd_nanos"""

    @property
    def calls(self) -> list[Any]:
        return [event for event in self.events if event.kind == "engine_call"]

    @property
    def calls_by_number(self) -> Counter[int]:
        """Of the requests that said theirs in `metadata.number`."""
        return Counter(int(call.number) for call in self.calls)

    def assert_settled(self) -> None:
        """Nothing is held, each budget's spent is the sum of what its holds captured, that is the sum of the events,
        and each of these is one movement."""
        assert {hold.state for hold in self.holds} <= {"captured", "released"}
        captured: defaultdict[str, int] = defaultdict(int)
        for hold in self.holds:
            for budget_id in hold.budgets:
                captured[budget_id] += hold.captured_usd_nanos
        for budget_id, budget in self.budgets.items():
            assert budget.held_usd_nanos == 0, budget_id
            if budget.kind == "slots":
                assert budget.spent_usd_nanos == 0, budget_id
            elif budget.kind != "rate":
                assert budget.spent_usd_nanos == captured[budget_id] <= budget.limit_usd_nanos, budget_id
        charged = {event.id: event.cost_usd_nanos for event in self.events if event.cost_usd_nanos}
        assert sum(charged.values()) == sum(hold.captured_usd_nanos for hold in self.holds)
        moved = {movement.event_id: movement.usd_nanos for movement in self.movements if movement.kind == "capture"}
        assert moved == charged
        ended = [hold.event_id for hold in self.holds if hold.event_id is not None]
        assert sorted(ended) == sorted(call.id for call in self.calls)  # one for each that was not released unsent


async def books_of(database_url: str) -> Books:
    async with reading(database_url) as rows:
        is_sqlite = database_url.startswith("sqlite")
        number = "attribution ->> '$.tags.number'" if is_sqlite else "attribution -> 'tags' ->> 'number'"
        budgets = await rows("SELECT id, kind, limit_usd_nanos, spent_usd_nanos, held_usd_nanos FROM budgets")
        holds = await rows("SELECT state, budgets, captured_usd_nanos, sent_at_us, event_id FROM holds")
        events = await rows(
            "SELECT id, kind, session_id, request_id, output_tokens, cost_usd_nanos, upstream_cost_usd_nanos,"
            f" overrun_usd_nanos, decision, estimated, corrects, {number} AS number FROM economic_events"
        )
        movements = await rows("SELECT kind, event_id, usd_nanos FROM movements")
    told = [SimpleNamespace(**hold._mapping) for hold in holds]
    for hold in told:
        hold.budgets = json.loads(hold.budgets) if is_sqlite else hold.budgets
    return Books({budget.id: budget for budget in budgets}, told, events, movements)
