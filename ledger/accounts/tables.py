"""Rows of tenants, API keys and sessions. Of a key only its keyed hash is kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from ledger.database import Row

_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class TenantRow(Row, table=True):
    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("billing IN ('open', 'prepaid')", name="billing"),)

    id: str = Field(primary_key=True)
    name: str
    billing: str
    """`open`: caps only, the operator pays upstreams. `prepaid`: needs credits or funding."""
    created_at_us: int = Field(sa_type=BigInteger)


class PolicyRow(Row, table=True):
    """`operator`: the frame of a tenant, which may be wider than the defaults. `tenant`: its own, within the frame.
    `key`: what narrows it for one key."""

    __tablename__ = "policies"
    __table_args__ = (CheckConstraint("scope IN ('operator', 'tenant', 'key')", name="scope"),)

    scope: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    """The tenant's id, or the key's."""
    document: dict[str, Any] = Field(sa_column=Column(_JSON, nullable=False))
    set_at_us: int = Field(sa_type=BigInteger)


class ApiKeyRow(Row, table=True):
    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(previous_hash IS NULL) = (previous_until_us IS NULL)", name="previous"),
        Index("ix_api_keys_previous_hash", "previous_hash", unique=True),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenants.id", index=True)
    name: str
    key_hash: str = Field(unique=True)
    shown: str
    """The key's beginning, enough to tell keys apart and too little to use one."""
    scopes: list[Any] = Field(sa_column=Column(JSON().with_variant(JSONB(), "postgresql"), nullable=False))
    created_at_us: int = Field(sa_type=BigInteger)
    revoked_at_us: int | None = Field(default=None, sa_type=BigInteger)
    role: str | None = None
    previous_hash: str | None = None
    """Of the secret before the last rotation, which is good until `previous_until_us`."""
    previous_until_us: int | None = Field(default=None, sa_type=BigInteger)


class SessionRow(Row, table=True):
    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'ended', 'revoked')", name="state"),
        CheckConstraint("(state = 'open') = (ended_at_us IS NULL)", name="ended_at"),
        CheckConstraint("total_usd_nanos >= 0", name="not_negative"),
        Index("ix_sessions_tenant", "tenant_id", "created_at_us"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenants.id")
    key_id: str | None
    agent_identifier: str | None
    agent_id: str | None
    total_usd_nanos: int = Field(sa_type=BigInteger)
    """The cap as it was asked for, and what funding added: ending a session lowers its budget, not this."""
    state: str
    refused_at_us: int | None = Field(sa_type=BigInteger)
    """When a call was last refused for lack of room; funding forgets it."""
    policy: dict[str, Any] | None = Field(sa_column=Column(_JSON))
    created_at_us: int = Field(sa_type=BigInteger)
    expires_at_us: int = Field(sa_type=BigInteger)
    ended_at_us: int | None = Field(sa_type=BigInteger)
