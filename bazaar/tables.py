"""The Bazaar's rows: a listing, unique by tenant, endpoint and skill."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, UniqueConstraint
from sqlmodel import Field

from ledger.database import Row


class Listing(Row, table=True):
    """What can be hired: where it answers, what it costs, whom it pays. Its texts are shown and never obeyed."""

    __tablename__ = "listing"
    __table_args__: Any = (
        UniqueConstraint("tenant_id", "endpoint", "skill", name="uq_listing_place"),
        CheckConstraint("price_per_call_usd_nanos >= 0", name="price"),
        CheckConstraint("health IN ('unknown', 'healthy', 'degraded', 'down')", name="health"),
        CheckConstraint("status IN ('draft', 'pending', 'active', 'suspended', 'archived')", name="status"),
        Index("ix_listing_status_created", "status", "created_at_us", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    type: str
    name: str
    description: str
    endpoint: str
    agent_card_url: str | None = None
    skill: str = ""
    price_per_call_usd_nanos: int = Field(sa_column=Column(BigInteger, nullable=False))
    currency: str = "USD"
    capabilities: list[str] = Field(sa_column=Column(JSON, nullable=False))
    tags: list[str] = Field(sa_column=Column(JSON, nullable=False))
    pay_to: str | None = None
    network: str | None = None
    asset: str | None = None
    health: str = "unknown"
    avg_latency_ms: int | None = None
    status: str = "active"
    version: int = 1
    created_at_us: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at_us: int = Field(sa_column=Column(BigInteger, nullable=False))
