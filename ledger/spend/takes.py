"""How a hold takes from a budget: the whole amount, a share of it, a unit while it lasts, or a unit for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal["count", "whole", "slot", "share"]


@dataclass(frozen=True, slots=True)
class Take:
    """One budget that a hold takes from. Of rates and slots the unit is one request, of the others a nano."""

    budget_id: str
    how: How


def count(budget_id: str) -> Take:
    """One unit, spent at once and never given back: requests an hour."""
    return Take(budget_id, "count")


def whole(budget_id: str) -> Take:
    """The whole amount: a cap, such as a day, a session, an owner."""
    return Take(budget_id, "whole")


def slot(budget_id: str) -> Take:
    """One unit for as long as the hold stands: concurrency."""
    return Take(budget_id, "slot")


def share(budget_id: str) -> Take:
    """What it has of the amount, the next share the rest: credits before funds."""
    return Take(budget_id, "share")
