"""A mandate's constraints: read strictly from JSON, hashed, stored and shown from one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ledger.clock import SECOND_US
from ledger.errors import InvalidInput
from ledger.money import usd_fields
from mandates import fields

Kind = Literal["intent", "cart", "payment"]

CONSTRAINTS = "mandate.constraints"
"""where they stand in a body, for errors that name a field"""
_KNOWN = {
    "max_amount_usd",
    "max_amount_usd_exact",
    "allowed_categories",
    "allowed_payees",
    "valid_from",
    "valid_until",
    "max_per_use_usd",
    "max_per_use_usd_exact",
    "max_uses",
    "items",
}
_MOST_ITEMS = 100


@dataclass(frozen=True)
class Item:
    """One thing of a cart."""

    id: str
    amount_usd_nanos: int


@dataclass(frozen=True)
class Constraints:
    max_amount_usd_nanos: int
    valid_until_s: int
    """the first second in which it is no longer valid"""
    valid_from_s: int | None = None
    categories: tuple[str, ...] = ()
    """empty: any"""
    payees: tuple[str, ...] = ()
    """empty: any"""
    max_per_use_usd_nanos: int | None = None
    max_uses: int | None = None
    items: tuple[Item, ...] = ()

    def others(self) -> dict[str, Any]:
        """Those without a member of their own in the signed type, in the form that `constraintsHash` is made of."""
        hashed: dict[str, Any] = {}
        if self.max_per_use_usd_nanos is not None:
            hashed["max_per_use_usd_nanos"] = str(self.max_per_use_usd_nanos)
        if self.max_uses is not None:
            hashed["max_uses"] = self.max_uses
        if self.items:
            hashed["items"] = [{"id": item.id, "amount_usd_nanos": str(item.amount_usd_nanos)} for item in self.items]
        return hashed

    def as_json(self) -> dict[str, Any]:
        """All of them: JSON names, amounts as `..._usd_nanos` strings, times as Unix seconds."""
        return {
            "max_amount_usd_nanos": str(self.max_amount_usd_nanos),
            "valid_from": self.valid_from_s,
            "valid_until": self.valid_until_s,
            "allowed_categories": list(self.categories),
            "allowed_payees": list(self.payees),
            **self.others(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Constraints:
        per_use = stored.get("max_per_use_usd_nanos")
        return cls(
            max_amount_usd_nanos=int(stored["max_amount_usd_nanos"]),
            valid_until_s=stored["valid_until"],
            valid_from_s=stored["valid_from"],
            categories=tuple(stored["allowed_categories"]),
            payees=tuple(stored["allowed_payees"]),
            max_per_use_usd_nanos=None if per_use is None else int(per_use),
            max_uses=stored.get("max_uses"),
            items=tuple(Item(item["id"], int(item["amount_usd_nanos"])) for item in stored.get("items", ())),
        )

    def shown(self) -> dict[str, Any]:
        """As answers show them; read again, they are the same constraints."""
        shown: dict[str, Any] = {
            **usd_fields("max_amount_usd", self.max_amount_usd_nanos),
            "allowed_categories": list(self.categories),
            "allowed_payees": list(self.payees),
            "valid_until": fields.shown_time(self.valid_until_s),
        }
        if self.valid_from_s is not None:
            shown["valid_from"] = fields.shown_time(self.valid_from_s)
        if self.max_per_use_usd_nanos is not None:
            shown |= usd_fields("max_per_use_usd", self.max_per_use_usd_nanos)
        if self.max_uses is not None:
            shown["max_uses"] = self.max_uses
        if self.items:
            shown["items"] = [{"id": item.id, **usd_fields("amount_usd", item.amount_usd_nanos)} for item in self.items]
        return shown


def read_constraints(kind: Kind, value: Any) -> Constraints:
    """Raises InvalidInput naming what is missing, wrong, not understood, or not of a mandate of this kind."""
    given = fields.members(value, CONSTRAINTS, _KNOWN)
    max_amount = fields.usd(given, "max_amount_usd", CONSTRAINTS)
    until_us = fields.time_us(given.get("valid_until"), f"{CONSTRAINTS}.valid_until")
    from_us = fields.time_us(given.get("valid_from"), f"{CONSTRAINTS}.valid_from")
    if not max_amount:
        raise InvalidInput(f"{CONSTRAINTS}.max_amount_usd", "must be given, and more than zero")
    if until_us is None:
        raise InvalidInput(f"{CONSTRAINTS}.valid_until", "must be given")
    constraints = Constraints(
        max_amount_usd_nanos=max_amount,
        # Whole seconds are signed: a part of one is dropped towards the shorter time.
        valid_until_s=until_us // SECOND_US,
        valid_from_s=None if from_us is None else -(-from_us // SECOND_US),
        categories=tuple(fields.texts(given.get("allowed_categories"), f"{CONSTRAINTS}.allowed_categories")),
        payees=_read_payees(given.get("allowed_payees")),
        max_per_use_usd_nanos=fields.usd(given, "max_per_use_usd", CONSTRAINTS),
        max_uses=fields.count(given.get("max_uses"), f"{CONSTRAINTS}.max_uses"),
        items=_read_items(given.get("items")),
    )
    _check_kind(kind, constraints)
    return constraints


def _read_payees(value: Any) -> tuple[str, ...]:
    param = f"{CONSTRAINTS}.allowed_payees"
    return tuple(fields.payee(payee, f"{param}[{n}]") for n, payee in enumerate(fields.texts(value, param)))


def _read_items(value: Any) -> tuple[Item, ...]:
    param = f"{CONSTRAINTS}.items"
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_ITEMS:
        raise InvalidInput(param, f"must be a list of 1 to {_MOST_ITEMS} items")
    items = tuple(_read_item(entry, f"{param}[{n}]") for n, entry in enumerate(value))
    if len({item.id for item in items}) != len(items):
        raise InvalidInput(param, "must name each item once")
    return items


def _read_item(value: Any, param: str) -> Item:
    given = fields.members(value, param, {"id", "amount_usd", "amount_usd_exact"})
    amount = fields.usd(given, "amount_usd", param)
    if not amount:
        raise InvalidInput(f"{param}.amount_usd", "must be given, and more than zero")
    return Item(fields.text(given.get("id"), f"{param}.id"), amount)


def _check_kind(kind: Kind, constraints: Constraints) -> None:
    if constraints.max_per_use_usd_nanos == 0:
        raise InvalidInput(f"{CONSTRAINTS}.max_per_use_usd", "must be more than zero")
    if (kind == "cart") != bool(constraints.items):
        raise InvalidInput(f"{CONSTRAINTS}.items", "must be given for a cart, and for nothing else")
    if sum(item.amount_usd_nanos for item in constraints.items) > constraints.max_amount_usd_nanos:
        raise InvalidInput(f"{CONSTRAINTS}.items", "sum to more than max_amount_usd")
    if kind == "payment" and constraints.max_uses not in (None, 1):
        raise InvalidInput(f"{CONSTRAINTS}.max_uses", "must be 1 for a payment")
