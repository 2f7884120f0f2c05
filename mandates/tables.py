"""Rows of mandates, of their uses, and of what was prepared for signing. A mandate's sum is its budget's row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from ledger.database import Row
from mandates.constraints import Constraints, Kind
from mandates.terms import Terms

_TAKEN = text("item_id IS NOT NULL AND state <> 'released'")


class MandateRow(Row, table=True):
    __tablename__ = "mandates"
    __table_args__ = (
        CheckConstraint("kind IN ('intent', 'cart', 'payment')", name="kind"),
        Index("ix_mandates_tenant", "tenant_id", "created_at_us"),
    )

    id: str = Field(primary_key=True)
    """also the id of its budget"""
    tenant_id: str
    digest: str = Field(unique=True)
    """What was signed, as 0x and hex: it is the mandate; a signature of it can be written in many ways."""
    kind: str
    user_did: str
    agent_did: str
    authority: str
    chain_id: int = Field(sa_type=BigInteger)
    nonce: str
    constraints: dict[str, Any] = Field(sa_column=Column(JSON().with_variant(JSONB(), "postgresql"), nullable=False))
    signature: str
    created_at_us: int = Field(sa_type=BigInteger)
    suspended_at_us: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at_us: int | None = Field(default=None, sa_type=BigInteger)
    revocation_signature: str | None = None
    revocation_issued_at_s: int | None = Field(default=None, sa_type=BigInteger)

    @property
    def terms(self) -> Terms:
        kind: Kind = self.kind  # type: ignore[assignment]
        constraints = Constraints.from_json(self.constraints)
        return Terms(kind, self.user_did, self.agent_did, self.authority, self.chain_id, self.nonce, constraints)


class MandateUseRow(Row, table=True):
    __tablename__ = "mandate_uses"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint("state IN ('held', 'captured', 'released')", name="state"),
        CheckConstraint("(state = 'captured') = (captured_usd_nanos IS NOT NULL)", name="captured"),
        CheckConstraint("amount_usd_nanos > 0", name="amount"),
        CheckConstraint("captured_usd_nanos BETWEEN 0 AND amount_usd_nanos", name="within_amount"),
        CheckConstraint("(state = 'held') = (ended_at_us IS NULL)", name="ended"),
        Index(
            "ix_mandate_uses_item",
            "mandate_id",
            "item_id",
            unique=True,
            postgresql_where=_TAKEN,
            sqlite_where=_TAKEN,
        ),
        Index("ix_mandate_uses_created", "mandate_id", "created_at_us"),
    )

    mandate_id: str = Field(primary_key=True, foreign_key="mandates.id")
    id: str = Field(primary_key=True)
    tenant_id: str
    """who uses it, which need not be who made it"""
    request_hash: str
    state: str
    """as its hold's; written after it, and brought up to it where a process ended in between"""
    hold_id: str
    amount_usd_nanos: int = Field(sa_type=BigInteger)
    captured_usd_nanos: int | None = Field(default=None, sa_type=BigInteger)
    category: str | None = None
    payee: str | None = None
    audience: str | None = None
    task_id: str | None = None
    item_id: str | None = None
    token_nonce: str
    agent_signature: str | None = None
    agent_signature_expires_at_s: int | None = Field(default=None, sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    expires_at_us: int = Field(sa_type=BigInteger)
    """when its hold's lease ends, unless a payment signed under it has left"""
    sent_at_us: int | None = Field(default=None, sa_type=BigInteger)
    ended_at_us: int | None = Field(default=None, sa_type=BigInteger)


class PreparedMandateRow(Row, table=True):
    __tablename__ = "prepared_mandates"

    tenant_id: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    authority: str
    chain_id: int = Field(sa_type=BigInteger)
    nonce: str
    valid_from_s: int = Field(sa_type=BigInteger)
    ends_at_us: int = Field(sa_type=BigInteger, index=True)
