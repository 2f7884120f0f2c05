"""The buyer's journal: one row a call that has a price, written before anything that costs leaves the process."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, Text, text
from sqlmodel import Field

from ledger.database import Row

OPEN_POINTS = ("planned", "signed")
HTTP_TASK = "http_"
"""How the ids of tasks begin that are one HTTP request each."""
_OPEN = text("point IN ('planned', 'signed') OR (point = 'paid' AND task_ended = false)")


class HireCall(Row, table=True):
    """What was agreed, what was signed (never the signature itself), and what became of it.

    `point`: planned (nothing has left) -> signed (a payment authorisation may have left; only the chain ends it)
    -> paid | released. Amounts of tokens are decimal text, as they can pass 2**63.
    """

    __tablename__ = "hire_call"
    __table_args__ = (
        CheckConstraint("point IN ('planned', 'signed', 'paid', 'released')", name="point"),
        CheckConstraint("point <> 'signed' OR (nonce <> '' AND valid_before_s > 0)", name="signed"),
        CheckConstraint("amount_usd_nanos > 0", name="amount"),
        Index(
            "uq_hire_call_authorization",
            "network",
            "asset",
            "payer",
            "nonce",
            unique=True,
            sqlite_where=text("nonce <> ''"),
            postgresql_where=text("nonce <> ''"),
        ),
        Index("ix_hire_call_tenant", "tenant_id", "created_at_us", "id"),
        Index("ix_hire_call_open", "updated_at_us", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    resource_id: str | None
    card_url: str
    skill: str | None
    point: str = "planned"
    mandate_id: str | None
    use_id: str
    """The mandate's use, or the hold on the tenant's day where there is no mandate."""
    amount_usd_nanos: int = Field(sa_type=BigInteger)
    network: str
    asset: str
    payer: str
    payee: str
    amount_atomic: str = Field(sa_column=Column("amount_atomic", Text, nullable=False))
    nonce: str = ""
    valid_before_s: int = Field(default=0, sa_type=BigInteger)
    signed_at_block: int = Field(default=0, sa_type=BigInteger)
    """The chain's head before it was signed: the transfer is in no older block."""
    task_id: str
    context_id: str
    task_state: str
    task_ended: bool = False
    tx_hash: str = ""
    receipt: str = ""
    """The seller's signed receipt (a compact JWS), once it was checked."""
    signed_offer: str = ""
    """x402's signed offer of the price that was paid, as JSON, where the seller gave one that holds."""
    signed_delivery: str = ""
    """x402's signed receipt of the delivery, likewise."""
    failure: str = ""
    card: dict[str, Any] = Field(default_factory=dict, sa_column=Column("card", JSON, nullable=False))
    """What was found out of the seller's card before it was asked (`card_keys.Checked`); empty for older calls."""
    lease_until_us: int = Field(sa_type=BigInteger)
    """Until then a planned call is in its owner's hands."""
    created_at_us: int = Field(sa_type=BigInteger)
    updated_at_us: int = Field(sa_type=BigInteger)

    @property
    def is_http(self) -> bool:
        """Its seller is an HTTP resource, found at `card_url`, and cannot be asked later."""
        return self.task_id.startswith(HTTP_TASK)

    @property
    def event_id(self) -> str:
        return event_id(self.id)


def event_id(call_id: str) -> str:
    """One event a hire: its id comes from the call's, so that a capture asked for again records no second one."""
    return call_id.replace("call_", "evt_", 1)
