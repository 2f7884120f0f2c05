"""What a mandate allows: its terms, what has become of it, a use and the time in; a status or a refusal out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ledger.errors import AgentNodeError, InvalidInput
from mandates.constraints import Item
from mandates.errors import (
    AgentNotAllowed,
    BudgetExceeded,
    CategoryNotAllowed,
    MandateExpired,
    MandateInactive,
    MandateNotYetValid,
    MandateRevoked,
    MandateSuspended,
    PayeeNotAllowed,
)
from mandates.terms import Terms

Status = Literal["active", "exhausted", "expired", "revoked", "pending", "suspended"]


@dataclass(frozen=True)
class Standing:
    """What has become of a mandate. Uses and items are counted only where its terms count them."""

    spent_usd_nanos: int = 0
    held_usd_nanos: int = 0
    uses_held: int = 0
    uses_captured: int = 0
    items_held: frozenset[str] = frozenset()
    items_captured: frozenset[str] = frozenset()
    revoked: bool = False
    suspended: bool = False


class Asked(Protocol):
    """What a use asks for."""

    @property
    def amount_usd_nanos(self) -> int: ...
    @property
    def category(self) -> str | None: ...
    @property
    def payee(self) -> str | None: ...
    @property
    def agent_did(self) -> str | None: ...
    @property
    def item_id(self) -> str | None: ...


def status(terms: Terms, standing: Standing, now_s: int) -> Status:
    if standing.revoked:
        return "revoked"
    if standing.suspended:
        return "suspended"
    if now_s >= terms.constraints.valid_until_s:
        return "expired"
    if _used_up(terms, standing):
        return "exhausted"
    if now_s < (terms.constraints.valid_from_s or 0):
        return "pending"
    return "active"


def room_usd_nanos(terms: Terms, standing: Standing) -> int:
    """What can still be authorised; what a payment's one use left over has lapsed."""
    if _used_up(terms, standing):
        return 0
    return terms.constraints.max_amount_usd_nanos - standing.spent_usd_nanos - standing.held_usd_nanos


def stopped(terms: Terms, standing: Standing, now_s: int) -> AgentNodeError | None:
    """Why nothing may be signed any more under a use that was authorised before."""
    match status(terms, standing, now_s):
        case "revoked":
            return MandateRevoked("the mandate was revoked; ask its grantor for another")
        case "suspended":
            return MandateSuspended("the mandate is suspended; ask its owner to resume it")
        case "expired":
            return MandateExpired("the mandate's valid_until has passed; ask its grantor for another")
    return None


def refusal(terms: Terms, standing: Standing, asked: Asked, now_s: int) -> AgentNodeError | None:
    """The first rule that the use breaks, or None: its status, then agent, category, payee, item, amount, number.

    The sum is judged here too, but decided when the amount is reserved.
    """
    return (
        stopped(terms, standing, now_s)
        or _not_active(terms, standing, now_s)
        or _wrong_agent(terms, asked)
        or _wrong_category(terms, asked)
        or _wrong_payee(terms, asked)
        or _wrong_item(terms, standing, asked)
        or _too_much(terms, standing, asked)
    )


def _used_up(terms: Terms, standing: Standing) -> bool:
    return (
        standing.spent_usd_nanos >= terms.constraints.max_amount_usd_nanos
        or (terms.max_uses is not None and standing.uses_captured >= terms.max_uses)
        or (terms.kind == "cart" and standing.items_captured >= {item.id for item in terms.constraints.items})
    )


def _not_active(terms: Terms, standing: Standing, now_s: int) -> AgentNodeError | None:
    match status(terms, standing, now_s):
        case "exhausted":
            return MandateInactive("the mandate is exhausted; ask its grantor for another")
        case "pending":
            return MandateNotYetValid("the mandate's valid_from has not come yet")
    return None


def _wrong_agent(terms: Terms, asked: Asked) -> AgentNodeError | None:
    if asked.agent_did in (None, terms.agent_did):
        return None
    return AgentNotAllowed(f"the mandate was granted to {terms.agent_did}")


def _wrong_category(terms: Terms, asked: Asked) -> AgentNodeError | None:
    allowed = terms.constraints.categories
    if not allowed or asked.category in allowed:
        return None
    return CategoryNotAllowed(f"category must be one of {', '.join(allowed)}")


def _wrong_payee(terms: Terms, asked: Asked) -> AgentNodeError | None:
    allowed = terms.constraints.payees
    if not allowed or asked.payee in allowed:
        return None
    return PayeeNotAllowed(f"payee must be one of {', '.join(allowed)}")


def _wrong_item(terms: Terms, standing: Standing, asked: Asked) -> AgentNodeError | None:
    if terms.kind != "cart":
        return None if asked.item_id is None else InvalidInput("item_id", "is for carts only")
    item = _item(terms, asked.item_id)
    if item is None:
        return InvalidInput("item_id", "must name an item of the cart")
    if item.id in standing.items_held | standing.items_captured:
        return BudgetExceeded(asked.amount_usd_nanos, 0, f"item {item.id} is taken")
    if asked.amount_usd_nanos > item.amount_usd_nanos:
        return BudgetExceeded(asked.amount_usd_nanos, item.amount_usd_nanos, f"for item {item.id}")
    return None


def _too_much(terms: Terms, standing: Standing, asked: Asked) -> AgentNodeError | None:
    amount, per_use = asked.amount_usd_nanos, terms.constraints.max_per_use_usd_nanos
    if per_use is not None and amount > per_use:
        return BudgetExceeded(amount, per_use, "max_per_use_usd")
    if terms.max_uses is not None and standing.uses_held + standing.uses_captured >= terms.max_uses:
        return BudgetExceeded(amount, 0, f"all of its uses ({terms.max_uses}) are taken")
    room = room_usd_nanos(terms, standing)
    if amount > room:
        return BudgetExceeded(amount, room, "what is left of max_amount_usd")
    return None


def _item(terms: Terms, item_id: str | None) -> Item | None:
    return next((item for item in terms.constraints.items if item.id == item_id), None)
