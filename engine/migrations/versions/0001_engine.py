"""The engine's first tables: the cache's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "engine_0001"
down_revision = None
branch_labels = ("engine",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cache_tenants",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("ttl_s", sa.Integer(), nullable=False),
        sa.Column("partition_by", sa.String(), nullable=False),
        sa.Column("max_entries", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("misses", sa.BigInteger(), nullable=False),
        sa.Column("saved_usd_nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_cache_tenants"),
        sa.CheckConstraint("partition_by IN ('tenant', 'key', 'user')", name="partition_by"),
    )
    op.create_table(
        "cache_entries",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("asked_hash", sa.String(), nullable=False),
        sa.Column("family_hash", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("answer_bytes", sa.Integer(), nullable=False),
        sa.Column("saved_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("used_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "seq", name="pk_cache_entries"),
    )
    op.create_index("ix_cache_entries_asked", "cache_entries", ["tenant_id", "scope", "asked_hash"], unique=True)
    op.create_index("ix_cache_entries_family", "cache_entries", ["tenant_id", "scope", "family_hash", "seq"])
    op.create_index("ix_cache_entries_used", "cache_entries", ["tenant_id", "used_at_us", "seq"])
    op.create_index("ix_cache_entries_ends", "cache_entries", ["ends_at_us"])


def downgrade() -> None:
    op.drop_table("cache_entries")
    op.drop_table("cache_tenants")
