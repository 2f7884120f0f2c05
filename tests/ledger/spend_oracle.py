"""What the spend path must do, said once more and as plainly as possible: one operation after the other, on dicts.

It shares no rule with the code under test: it makes each change on a copy of everything, looks whether the books
still add up, and keeps the copy or throws it away.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from typing import Any

from ledger.spend.operations import (
    Capture,
    Captured,
    Differs,
    Done,
    Ended,
    Expire,
    Held,
    Hold,
    MarkSent,
    NotDue,
    Operation,
    Outcome,
    Record,
    Refused,
    Release,
    Renew,
    Reserve,
    UnknownBudget,
    UnknownHold,
)


class Oracle:
    def __init__(self, limits: dict[str, int]) -> None:
        self.budgets = {name: {"limit": limit, "spent": 0, "held": 0} for name, limit in limits.items()}
        self.holds: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.movements: dict[str, dict[str, Any]] = {}

    def apply(self, op: Operation) -> Outcome:
        before = deepcopy(self.__dict__)
        try:
            return self._try(op)
        except _No as no:
            self.__dict__ = before
            return no.outcome

    def _try(self, op: Operation) -> Outcome:
        if isinstance(op, Reserve):
            return self._reserve(op.hold)
        if isinstance(op, Record):
            if op.event["id"] not in self.events:
                self.events[op.event["id"]] = op.event
                if op.movement:
                    m = op.movement
                    event = op.event
                    self._move(None, event["id"], event["tenant_id"], m.kind, m.from_account, m.to_account, m.usd_nanos,
                               event["at_us"])  # fmt: skip
            return Done()
        if op.hold_id not in self.holds:
            return UnknownHold(op.hold_id)
        hold = self.holds[op.hold_id]
        if isinstance(op, Expire):
            return self._expire(hold, op.at_us)
        if op.fence not in (None, hold["fence"]):
            return Ended(hold["state"])
        by_owner = hold["ended_by"] == "owner"
        asked_before = hold["captured_usd_nanos"] + hold["overrun_usd_nanos"]
        if isinstance(op, Capture) and by_owner and hold["state"] == "captured" and op.amount_usd_nanos == asked_before:
            return Captured(hold["captured_usd_nanos"], hold["overrun_usd_nanos"], hold["event_id"])
        if isinstance(op, Release) and by_owner and hold["state"] == "released":
            return Done()
        if hold["state"] != "held":
            return Ended(hold["state"])
        if isinstance(op, MarkSent):
            if hold["sent_at_us"] is None:
                hold["sent_at_us"] = op.at_us
            hold["floor_usd_nanos"] = op.floor_usd_nanos
            if op.event is not None:
                hold["floor_event"] = op.event
            return Done()
        if isinstance(op, Renew):
            if op.lease_until_us > hold["lease_until_us"]:
                hold["lease_until_us"] = op.lease_until_us
            return Done()
        if op.event is not None and op.event["id"] in self.events:
            return Differs("event.id")
        if isinstance(op, Release):
            self._end(hold, "released", 0, 0, "owner", op.event, "", op.at_us)
            return Done()
        return self._capture(hold, op)

    def _reserve(self, asked: Hold) -> Outcome:
        if asked.id in self.holds:
            known = self.holds[asked.id]
            for field in ("tenant_id", "budgets", "amount_usd_nanos"):
                if known[field] != asdict(asked)[field]:
                    return Differs(field)
            return Held(Hold(**known), fresh=False)
        for name in asked.budgets:
            if name not in self.budgets:
                return UnknownBudget(name)
        for name in asked.budgets:
            budget = self.budgets[name]
            room = budget["limit"] - budget["spent"] - budget["held"]
            budget["held"] += asked.amount_usd_nanos
            if not self._adds_up():
                raise _No(Refused(name, room))
        self.holds[asked.id] = asdict(asked)
        return Held(asked, fresh=True)

    def _capture(self, hold: dict[str, Any], op: Capture) -> Outcome:
        before = deepcopy(self.__dict__)
        self._end(hold, "captured", op.amount_usd_nanos, 0, "owner", op.event, op.to_account, op.at_us)
        if not self._adds_up():
            self.__dict__ = before
            hold = self.holds[op.hold_id]
            overrun = op.amount_usd_nanos - hold["amount_usd_nanos"]
            self._end(hold, "captured", hold["amount_usd_nanos"], overrun, "owner", op.event, op.to_account, op.at_us)
        return Captured(hold["captured_usd_nanos"], hold["overrun_usd_nanos"], hold["event_id"])

    def _expire(self, hold: dict[str, Any], at_us: int) -> Outcome:
        if hold["state"] != "held" or at_us < hold["lease_until_us"]:
            return NotDue()
        if hold["sent_at_us"] is None:
            self._end(hold, "released", 0, 0, "sweeper", None, "", at_us)
            return Done()
        if hold["ends_by"] == "chain":
            return NotDue()
        event = deepcopy(hold["floor_event"])
        if event is not None:
            event["estimated"] = True
            event["evidence_status"] = "missing"
        floor = hold["floor_usd_nanos"]
        if floor > hold["amount_usd_nanos"]:
            floor = hold["amount_usd_nanos"]
        self._end(hold, "captured", floor, 0, "sweeper", event, "upstream", at_us)
        return Captured(floor, 0, hold["event_id"])

    def _end(
        self, hold: dict[str, Any], state: str, charged: int, overrun: int, by: str, event: dict[str, Any] | None,
        to: str, at_us: int,
    ) -> None:  # fmt: skip
        for name in hold["budgets"]:
            self.budgets[name]["held"] -= hold["amount_usd_nanos"]
            self.budgets[name]["spent"] += charged
        hold["state"] = state
        hold["captured_usd_nanos"] = charged
        hold["overrun_usd_nanos"] = overrun
        hold["ended_by"] = by
        hold["ended_at_us"] = at_us
        if by == "sweeper":
            hold["fence"] += 1
        if event is not None:
            hold["event_id"] = event["id"]
            if event["id"] not in self.events:
                written = deepcopy(event)
                written["at_us"] = at_us
                written["cost_usd_nanos"] = charged
                written["overrun_usd_nanos"] = overrun
                self.events[event["id"]] = written
        self._move(hold["id"], hold["event_id"], hold["tenant_id"], "capture", f"tenant:{hold['tenant_id']}", to,
                   charged, at_us)  # fmt: skip

    def _move(
        self, hold_id: str | None, event_id: str | None, tenant: str, kind: str, source: str, to: str, nanos: int,
        at_us: int,
    ) -> None:  # fmt: skip
        if nanos:
            key = f"mov_{hold_id or event_id}"
            self.movements[key] = {
                "id": key, "tenant_id": tenant, "kind": kind, "hold_id": hold_id, "event_id": event_id,
                "from_account": source, "to_account": to, "usd_nanos": nanos, "at_us": at_us,
            }  # fmt: skip

    def _adds_up(self) -> bool:
        return all(budget["spent"] + budget["held"] <= budget["limit"] for budget in self.budgets.values())


class _No(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
