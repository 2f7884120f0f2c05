"""The six layers in their order, which of them a refusal is of, and its error. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.errors import (
    DailyLimitExceeded,
    FundsInsufficient,
    OwnerBudgetExceeded,
    RateLimitExceeded,
    SessionBudgetExceeded,
    TooManyConcurrent,
)
from ledger.clock import SECOND_US
from ledger.errors import AgentNodeError, BudgetRefused
from ledger.money import usd_exact

Layer = Literal["rate", "day", "concurrency", "anomaly", "request", "budget"]
LAYERS: tuple[Layer, ...] = ("rate", "day", "concurrency", "anomaly", "request", "budget")

_BY_BUDGET: dict[str, Layer] = {"rate": "rate", "day": "day", "slots": "concurrency"}
_HOUR_US = 3_600 * SECOND_US
SLOT_WAIT_MS = 250


@dataclass
class Verdicts:
    """What each layer said; those after a refusal were not reached."""

    said: dict[Layer, str] = field(default_factory=lambda: dict.fromkeys(LAYERS, "pass"))

    def flag(self, layer: Layer, what: str) -> None:
        self.said[layer] = what

    def refuse(self, layer: Layer) -> None:
        place = LAYERS.index(layer)
        self.said[layer] = "refused"
        self.said.update(dict.fromkeys(LAYERS[place + 1 :], "not reached"))


def layer_of(budget_id: str) -> Layer:
    """The layer whose budget this is, by the beginning of its id."""
    return _BY_BUDGET.get(budget_id.partition(":")[0], "budget")


def error_of(refused: BudgetRefused, now_us: int) -> AgentNodeError:
    """What the caller is told of a budget without room: which limit, and what to do about it."""
    budget_id, room = refused.budget_id, usd_exact(max(0, refused.room_usd_nanos))
    asked = usd_exact(refused.asked_usd_nanos)
    match budget_id.partition(":")[0]:
        case "rate":
            wait_ms = (_HOUR_US - now_us % _HOUR_US) // 1_000 + 1
            return RateLimitExceeded("the requests of this hour are used up; wait", retry_after_ms=wait_ms)
        case "day":
            return DailyLimitExceeded(
                f"up to {asked} USD were asked for and {room} are left of this UTC day; "
                "it ends at 00:00 UTC, or have the limit raised"
            )
        case "slots":
            return TooManyConcurrent(
                "as many requests as allowed are at work at once; queue them", retry_after_ms=SLOT_WAIT_MS
            )
        case "owner":
            return OwnerBudgetExceeded(
                f"up to {asked} USD were asked for and {budget_id.removeprefix('owner:')} has {room} left; "
                "ask for less, or have the owner's budget raised"
            )
        case "session":
            return SessionBudgetExceeded(
                f"up to {asked} USD were asked for and the session has {room} left; "
                "lower max_tokens, fund the session or make another"
            )
    return FundsInsufficient(
        f"up to {asked} USD were asked for and {room} are there; buy credits, fund the session or lower max_tokens"
    )
