"""Policies of tenants and keys, roles, rotated secrets, and sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_0003"
down_revision = "ledger_0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("document", _JSON, nullable=False),
        sa.Column("set_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "ref"),
        sa.CheckConstraint("scope IN ('operator', 'tenant', 'key')", name="scope"),
    )
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("role", sa.String()))
        keys.add_column(sa.Column("previous_hash", sa.String()))
        keys.add_column(sa.Column("previous_until_us", sa.BigInteger()))
        keys.create_check_constraint("previous", "(previous_hash IS NULL) = (previous_until_us IS NULL)")
    op.create_index("ix_api_keys_previous_hash", "api_keys", ["previous_hash"], unique=True)
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String()),
        sa.Column("agent_identifier", sa.String()),
        sa.Column("agent_id", sa.String()),
        sa.Column("total_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("refused_at_us", sa.BigInteger()),
        sa.Column("policy", _JSON),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.CheckConstraint("state IN ('open', 'ended', 'revoked')", name="state"),
        sa.CheckConstraint("(state = 'open') = (ended_at_us IS NULL)", name="ended_at"),
        sa.CheckConstraint("total_usd_nanos >= 0", name="not_negative"),
    )
    op.create_index("ix_sessions_tenant", "sessions", ["tenant_id", "created_at_us"])


def downgrade() -> None:
    op.drop_table("sessions")
    op.drop_index("ix_api_keys_previous_hash", "api_keys")
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_constraint("previous", type_="check")
        for name in ("role", "previous_hash", "previous_until_us"):
            keys.drop_column(name)
    op.drop_table("policies")
