"""A mandate's terms: read from JSON, completed, hashed, signed and shown, always from this one form."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import rfc8785

from ledger.errors import InvalidInput
from mandates import fields
from mandates.constraints import CONSTRAINTS, Constraints, Kind, read_constraints
from trust.signatures import eip712

_NONCE = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_BARE = {"type", "user_did", "agent_did", "constraints", "signature", "public_key"}
_COMPLETING = {"authority", "chain_id", "nonce"}


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
            raise InvalidInput(f"{CONSTRAINTS}.valid_until", "must be later than valid_from")
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
        constraints=read_constraints(kind, mandate.get("constraints")),
        signature=fields.optional_text(mandate.get("signature"), "mandate.signature", 10_000),
        authority=fields.optional_text(mandate.get("authority"), "mandate.authority"),
        chain_id=fields.count(mandate.get("chain_id"), "mandate.chain_id", most=2**53),
        nonce=nonce,
    )


def completed_as_asked(asked: Any, answered: Any) -> Terms:
    """The terms of the body `asked`, with what a node adds (authority, chain id, nonce, valid_from) from its answer.

    What a grantor signs is built from this, never taken from a node. Both are bodies as `read_draft` takes them. Raises
    InvalidInput where either is none, or where the answer is incomplete or has other terms in anything else.
    """
    wanted, given = read_draft(asked), read_draft(answered)
    if not given.is_complete:
        raise InvalidInput("mandate", "was not completed")
    completing = str(given.authority), cast(int, given.chain_id), str(given.nonce)
    valid_from_s = cast(int, given.constraints.valid_from_s)
    terms = wanted.completed(*completing, valid_from_s)
    if terms != given.completed(*completing, valid_from_s):
        raise InvalidInput("mandate", "is not the one that was asked for")
    return terms


def _read_kind(value: Any) -> Kind:
    if value not in get_args(Kind):
        raise InvalidInput("mandate.type", "must be intent, cart or payment")
    return cast(Kind, value)
