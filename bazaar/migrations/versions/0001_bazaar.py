"""The Bazaar's first table: listings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "bazaar_0001"
down_revision = None
branch_labels = ("bazaar",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "listing",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("agent_card_url", sa.String(), nullable=True),
        sa.Column("skill", sa.String(), nullable=False),
        sa.Column("price_per_call_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("pay_to", sa.String(), nullable=True),
        sa.Column("network", sa.String(), nullable=True),
        sa.Column("asset", sa.String(), nullable=True),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("avg_latency_ms", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_listing"),
        sa.UniqueConstraint("tenant_id", "endpoint", "skill", name="uq_listing_place"),
        sa.CheckConstraint("price_per_call_usd_nanos >= 0", name="price"),
        sa.CheckConstraint("health IN ('unknown', 'healthy', 'degraded', 'down')", name="health"),
        sa.CheckConstraint("status IN ('draft', 'pending', 'active', 'suspended', 'archived')", name="status"),
    )
    op.create_index("ix_listing_status_created", "listing", ["status", "created_at_us", "id"])


def downgrade() -> None:
    op.drop_table("listing")
