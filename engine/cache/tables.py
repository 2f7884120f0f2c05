"""Rows of the cache: a tenant's settings and sums, and what is known of an entry. Words are in the vault only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Float, Index
from sqlmodel import Field

from ledger.database import Row


class CacheTenant(Row, table=True):
    """Settings, the sums of what the cache did, and the number of the newest entry: locked by who adds one."""

    __tablename__ = "cache_tenants"
    __table_args__: Any = (CheckConstraint("partition_by IN ('tenant', 'key', 'user')", name="partition_by"),)

    tenant_id: str = Field(primary_key=True)
    enabled: bool = Field(sa_column=Column(Boolean, nullable=False))
    similarity: float = Field(sa_column=Column(Float, nullable=False))
    ttl_s: int
    partition_by: str
    max_entries: int
    last_seq: int = Field(sa_type=BigInteger)
    hits: int = Field(sa_type=BigInteger)
    misses: int = Field(sa_type=BigInteger)
    saved_usd_nanos: int = Field(sa_type=BigInteger)


class CacheEntry(Row, table=True):
    """One kept answer. Hashes are keyed by the node; `scope` is whom it answers beside the tenant."""

    __tablename__ = "cache_entries"
    __table_args__: Any = (
        Index("ix_cache_entries_asked", "tenant_id", "scope", "asked_hash", unique=True),
        Index("ix_cache_entries_family", "tenant_id", "scope", "family_hash", "seq"),
        Index("ix_cache_entries_used", "tenant_id", "used_at_us", "seq"),
        Index("ix_cache_entries_ends", "ends_at_us"),
    )

    tenant_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    scope: str
    asked_hash: str
    family_hash: str
    provider: str
    model: str
    answer_bytes: int
    saved_usd_nanos: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    used_at_us: int = Field(sa_type=BigInteger)
    ends_at_us: int = Field(sa_type=BigInteger)
