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
    Paid,
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
            return self._reserve(op.hold, op.least_usd_nanos)
        if isinstance(op, Record):
            if op.event["id"] not in self.events:
                self._count(op.counts)
                self.events[op.event["id"]] = op.event
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
            return self._told(hold)
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

    def _count(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self.budgets:
                raise _No(UnknownBudget(name))
            self.budgets[name]["spent"] += 1
            if not self._adds_up():
                raise _No(Refused(name, 0))

    def _reserve(self, asked: Hold, least: int) -> Outcome:
        if asked.id in self.holds:
            known = self.holds[asked.id]
            for field in ("tenant_id", "budgets", "hows"):
                if known[field] != asdict(asked)[field]:
                    return Differs(field)
            if known["amount_usd_nanos"] < least or known["amount_usd_nanos"] > asked.amount_usd_nanos:
                return Differs("amount_usd_nanos")
            return Held(Hold(**known), fresh=False)
        for name in asked.budgets:
            if name not in self.budgets:
                return UnknownBudget(name)
        refusal: Outcome | None = None
        for amount in range(asked.amount_usd_nanos, least - 1, -1):  # the most that fits
            before = deepcopy(self.budgets)
            parts, refusal = self._take(asked, amount)
            if refusal is None:
                held = asdict(asked) | {"amount_usd_nanos": amount, "parts": tuple(parts)}
                self.holds[asked.id] = held
                return Held(Hold(**held), fresh=True)
            self.budgets = before
        assert refusal is not None
        return refusal

    def _take(self, asked: Hold, amount: int) -> tuple[list[int], Outcome | None]:
        parts, left, shared, last = [], amount, 0, None
        for name, how in zip(asked.budgets, asked.hows, strict=True):
            budget = self.budgets[name]
            room = budget["limit"] - budget["spent"] - budget["held"]
            part = {"count": 0, "slot": 1, "whole": amount, "share": room if room < left else left}[how]
            budget["held"] += part
            if how == "count":
                budget["spent"] += 1
            if how == "share":
                left -= part
                shared += room
                last = name
            if not self._adds_up():
                return [], Refused(name, room)
            parts.append(part)
        if last is not None and left > 0:
            return [], Refused(last, shared)
        return parts, None

    def _capture(self, hold: dict[str, Any], op: Capture) -> Outcome:
        before = deepcopy(self.__dict__)
        self._end(hold, "captured", op.amount_usd_nanos, 0, "owner", op.event, op.to_account, op.at_us)
        too_much = op.most_usd_nanos is not None and op.amount_usd_nanos > op.most_usd_nanos
        if not self._adds_up() or (too_much and op.amount_usd_nanos > hold["amount_usd_nanos"]):
            self.__dict__ = before
            hold = self.holds[op.hold_id]
            overrun = op.amount_usd_nanos - hold["amount_usd_nanos"]
            self._end(hold, "captured", hold["amount_usd_nanos"], overrun, "owner", op.event, op.to_account, op.at_us)
        return self._told(hold)

    def _told(self, hold: dict[str, Any]) -> Captured:
        shares = []
        for name, how, part in zip(hold["budgets"], hold["hows"], hold["parts"], strict=True):
            if how == "share":
                budget = self.budgets[name]
                shares.append(Paid(name, part, budget["limit"] - budget["spent"] - budget["held"]))
        return Captured(hold["captured_usd_nanos"], hold["overrun_usd_nanos"], hold["event_id"], tuple(shares))

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
        return self._told(hold)

    def _end(
        self, hold: dict[str, Any], state: str, charged: int, overrun: int, by: str, event: dict[str, Any] | None,
        to: str, at_us: int,
    ) -> None:  # fmt: skip
        paid = self._give_back_and_pay(hold, charged)
        hold["state"] = state
        hold["captured_usd_nanos"] = charged
        hold["overrun_usd_nanos"] = overrun
        hold["ended_by"] = by
        hold["ended_at_us"] = at_us
        hold["floor_event"] = None
        if by == "sweeper":
            hold["fence"] += 1
        if event is not None:
            hold["event_id"] = event["id"]
            if event["id"] not in self.events:
                written = deepcopy(event)
                written["at_us"] = at_us
                written["cost_usd_nanos"] = charged
                written["overrun_usd_nanos"] = overrun
                written["credits_usd_nanos"] = sum(
                    spent for name, spent in zip(hold["budgets"], paid, strict=True) if name.endswith("-credits")
                )
                self.events[event["id"]] = written
        hold["parts"] = tuple(paid)
        sources = [(hold["id"], f"tenant:{hold['tenant_id']}", charged)]
        if "share" in hold["hows"]:
            sources = [
                (f"{hold['id']}.{place}", name, spent)
                for place, (name, how, spent) in enumerate(zip(hold["budgets"], hold["hows"], paid, strict=True))
                if how == "share"
            ]
        for key, source, nanos in sources:
            self._move(hold["id"], hold["event_id"], hold["tenant_id"], "capture", source, to, nanos, at_us, key)

    def _give_back_and_pay(self, hold: dict[str, Any], charged: int) -> list[int]:
        for name, part in zip(hold["budgets"], hold["parts"], strict=True):
            self.budgets[name]["held"] -= part
        paid = [charged if how == "whole" else 0 for how in hold["hows"]]
        for _ in range(charged if "share" in hold["hows"] else 0):  # nano by nano
            place = self._who_pays_next(hold, paid)
            paid[place] += 1
        for name, spent in zip(hold["budgets"], paid, strict=True):
            self.budgets[name]["spent"] += spent
        return paid

    def _who_pays_next(self, hold: dict[str, Any], paid: list[int]) -> int:
        shares = [place for place, how in enumerate(hold["hows"]) if how == "share"]
        for place in shares:
            if paid[place] < hold["parts"][place]:
                return place
        for place in shares:
            budget = self.budgets[hold["budgets"][place]]
            if budget["spent"] + budget["held"] + paid[place] < budget["limit"]:
                return place
        return shares[-1]  # which has no room for it: the books do not add up

    def _move(
        self, hold_id: str, event_id: str | None, tenant: str, kind: str, source: str, to: str, nanos: int,
        at_us: int, key: str,
    ) -> None:  # fmt: skip
        if nanos:
            key = f"mov_{key}"
            self.movements[key] = {
                "id": key, "tenant_id": tenant, "kind": kind, "hold_id": hold_id, "event_id": event_id,
                "from_account": source, "to_account": to, "usd_nanos": nanos, "at_us": at_us,
            }  # fmt: skip

    def _adds_up(self) -> bool:
        return all(budget["spent"] + budget["held"] <= budget["limit"] for budget in self.budgets.values())


class _No(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
