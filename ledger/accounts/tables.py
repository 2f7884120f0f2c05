"""Rows of tenants and API keys. Of a key only its keyed hash is kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from ledger.database import Row


class TenantRow(Row, table=True):
    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("billing IN ('open', 'prepaid')", name="billing"),)

    id: str = Field(primary_key=True)
    name: str
    billing: str
    """`open`: caps only, the operator pays upstreams. `prepaid`: needs credits or funding."""
    created_at_us: int = Field(sa_type=BigInteger)


class ApiKeyRow(Row, table=True):
    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenants.id", index=True)
    name: str
    key_hash: str = Field(unique=True)
    shown: str
    """The key's beginning, enough to tell keys apart and too little to use one."""
    scopes: list[Any] = Field(sa_column=Column(JSON().with_variant(JSONB(), "postgresql"), nullable=False))
    created_at_us: int = Field(sa_type=BigInteger)
    revoked_at_us: int | None = Field(default=None, sa_type=BigInteger)
