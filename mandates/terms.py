"""A mandate's terms: read from JSON, completed, hashed, signed and shown, always from this one form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import rfc8785

from ledger.clock import SECOND_US
from ledger.errors import InvalidInput
from ledger.money import usd_fields
from mandates import fields
from trust.signatures import eip712

Kind = Literal["intent", "cart", "payment"]

_CONSTRAINTS = "mandate.constraints"
_NONCE = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_BARE = {"type", "user_did", "agent_did", "constraints", "signature", "public_key"}
_COMPLETING = {"authority", "chain_id", "nonce"}
_KNOWN_CONSTRAINTS = {
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


@dataclass(frozen=True)
class Draft:
    """What a caller sent: complete if `prepare` has been over it, else without what the node adds."""

    kind: Kind
    user_did: str
    agent_did: str
    constraints: Constraints
    signature: str | None = None
    authority: str | None = None
    chain_id: int | None = None
    nonce: str | None = None

    def fingerprint(self) -> str:
        """Equal for drafts with equal fields: how a bare body with a signature finds what was prepared for it."""
        return hashlib.sha256(
            rfc8785.dumps([self.kind, self.user_did, self.agent_did, self.constraints.as_json()])
        ).hexdigest()

    def completed(self, authority: str, chain_id: int, nonce: str, valid_from_s: int) -> Terms:
        """The terms, with these values where the draft has none of its own."""
        given = self.constraints.valid_from_s
        constraints = self.constraints if given is not None else replace(self.constraints, valid_from_s=valid_from_s)
        if constraints.valid_until_s <= cast(int, constraints.valid_from_s):
            raise InvalidInput(f"{_CONSTRAINTS}.valid_until", "must be later than valid_from")
        return Terms(
            kind=self.kind,
            user_did=self.user_did,
            agent_did=self.agent_did,
            authority=self.authority or authority,
            chain_id=self.chain_id or chain_id,
            nonce=self.nonce or nonce,
            constraints=constraints,
        )

    @property
    def is_complete(self) -> bool:
        return None not in (self.authority, self.chain_id, self.nonce, self.constraints.valid_from_s)


@dataclass(frozen=True)
class Terms:
    """What a grantor signs."""

    kind: Kind
    user_did: str
    agent_did: str
    authority: str
    chain_id: int
    nonce: str
    constraints: Constraints

    @property
    def max_uses(self) -> int | None:
        """A payment is for one use."""
        return 1 if self.kind == "payment" else self.constraints.max_uses

    @property
    def counts_uses(self) -> bool:
        return self.kind == "cart" or self.max_uses is not None

    def typed_data(self) -> eip712.TypedData:
        limits = self.constraints
        message = eip712.MandateMessage(
            kind=self.kind,
            grantor=self.user_did,
            agent=self.agent_did,
            max_amount_usd_nanos=limits.max_amount_usd_nanos,
            categories=limits.categories,
            payees=limits.payees,
            valid_from_s=cast(int, limits.valid_from_s),
            valid_until_s=limits.valid_until_s,
            nonce=bytes.fromhex(self.nonce.removeprefix("0x")),
            constraints_hash=eip712.constraints_hash(limits.others()),
        )
        return eip712.mandate_typed_data(message, self.chain_id, self.authority)

    def shown(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "user_did": self.user_did,
            "agent_did": self.agent_did,
            "authority": self.authority,
            "chain_id": self.chain_id,
            "nonce": self.nonce,
            "constraints": self.constraints.shown(),
        }


def read_draft(body: Any) -> Draft:
    """The mandate in a body `{mandate: {...}}`. Raises InvalidInput naming what is missing, wrong or not understood."""
    given = fields.members(body, "body", {"mandate"}).get("mandate")
    mandate = fields.members(given, "mandate", _BARE | _COMPLETING)
    kind = _read_kind(mandate.get("type"))
    nonce = mandate.get("nonce")
    if nonce is not None and (not isinstance(nonce, str) or not _NONCE.fullmatch(nonce)):
        raise InvalidInput("mandate.nonce", "must be 32 bytes as 0x and lower-case hex")
    # The key that signed is recovered from the signature; a key that is only claimed proves nothing and is not kept.
    fields.optional_text(mandate.get("public_key"), "mandate.public_key", 1_000)
    return Draft(
        kind=kind,
        user_did=fields.account_did(mandate.get("user_did"), "mandate.user_did"),
        agent_did=fields.did(mandate.get("agent_did"), "mandate.agent_did"),
        constraints=_read_constraints(kind, mandate.get("constraints")),
        signature=fields.optional_text(mandate.get("signature"), "mandate.signature", 10_000),
        authority=fields.optional_text(mandate.get("authority"), "mandate.authority"),
        chain_id=fields.count(mandate.get("chain_id"), "mandate.chain_id", most=2**53),
        nonce=nonce,
    )


def _read_kind(value: Any) -> Kind:
    if value not in get_args(Kind):
        raise InvalidInput("mandate.type", "must be intent, cart or payment")
    return cast(Kind, value)


def _read_constraints(kind: Kind, value: Any) -> Constraints:
    given = fields.members(value, _CONSTRAINTS, _KNOWN_CONSTRAINTS)
    max_amount = fields.usd(given, "max_amount_usd", _CONSTRAINTS)
    until_us = fields.time_us(given.get("valid_until"), f"{_CONSTRAINTS}.valid_until")
    from_us = fields.time_us(given.get("valid_from"), f"{_CONSTRAINTS}.valid_from")
    if not max_amount:
        raise InvalidInput(f"{_CONSTRAINTS}.max_amount_usd", "must be given, and more than zero")
    if until_us is None:
        raise InvalidInput(f"{_CONSTRAINTS}.valid_until", "must be given")
    constraints = Constraints(
        max_amount_usd_nanos=max_amount,
        # Whole seconds are signed: a part of one is dropped towards the shorter time.
        valid_until_s=until_us // SECOND_US,
        valid_from_s=None if from_us is None else -(-from_us // SECOND_US),
        categories=tuple(fields.texts(given.get("allowed_categories"), f"{_CONSTRAINTS}.allowed_categories")),
        payees=_read_payees(given.get("allowed_payees")),
        max_per_use_usd_nanos=fields.usd(given, "max_per_use_usd", _CONSTRAINTS),
        max_uses=fields.count(given.get("max_uses"), f"{_CONSTRAINTS}.max_uses"),
        items=_read_items(given.get("items")),
    )
    _check_kind(kind, constraints)
    return constraints


def _read_payees(value: Any) -> tuple[str, ...]:
    param = f"{_CONSTRAINTS}.allowed_payees"
    return tuple(fields.payee(payee, f"{param}[{n}]") for n, payee in enumerate(fields.texts(value, param)))


def _read_items(value: Any) -> tuple[Item, ...]:
    param = f"{_CONSTRAINTS}.items"
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
        raise InvalidInput(f"{_CONSTRAINTS}.max_per_use_usd", "must be more than zero")
    if (kind == "cart") != bool(constraints.items):
        raise InvalidInput(f"{_CONSTRAINTS}.items", "must be given for a cart, and for nothing else")
    if sum(item.amount_usd_nanos for item in constraints.items) > constraints.max_amount_usd_nanos:
        raise InvalidInput(f"{_CONSTRAINTS}.items", "sum to more than max_amount_usd")
    if kind == "payment" and constraints.max_uses not in (None, 1):
        raise InvalidInput(f"{_CONSTRAINTS}.max_uses", "must be 1 for a payment")
