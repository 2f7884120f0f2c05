"""Mandates, their uses, and what was prepared for signing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "mandates_0001"
down_revision = None
branch_labels = ("mandates",)
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "mandates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("user_did", sa.String(), nullable=False),
        sa.Column("agent_did", sa.String(), nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("constraints", _JSON, nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("suspended_at_us", sa.BigInteger()),
        sa.Column("revoked_at_us", sa.BigInteger()),
        sa.Column("revocation_signature", sa.String()),
        sa.Column("revocation_issued_at_s", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.CheckConstraint("kind IN ('intent', 'cart', 'payment')", name="kind"),
    )
    op.create_index("ix_mandates_tenant", "mandates", ["tenant_id", "created_at_us"])
    op.create_table(
        "mandate_uses",
        sa.Column("mandate_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String(), nullable=False),
        sa.Column("amount_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("captured_usd_nanos", sa.BigInteger()),
        sa.Column("category", sa.String()),
        sa.Column("payee", sa.String()),
        sa.Column("audience", sa.String()),
        sa.Column("task_id", sa.String()),
        sa.Column("item_id", sa.String()),
        sa.Column("token_nonce", sa.String(), nullable=False),
        sa.Column("agent_signature", sa.String()),
        sa.Column("agent_signature_expires_at_s", sa.BigInteger()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_at_us", sa.BigInteger()),
        sa.Column("ended_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("mandate_id", "id"),
        sa.ForeignKeyConstraint(["mandate_id"], ["mandates.id"]),
        sa.UniqueConstraint("tenant_id", "id"),
        sa.CheckConstraint("state IN ('held', 'captured', 'released')", name="state"),
        sa.CheckConstraint("(state = 'captured') = (captured_usd_nanos IS NOT NULL)", name="captured"),
        sa.CheckConstraint("amount_usd_nanos > 0", name="amount"),
        sa.CheckConstraint("captured_usd_nanos BETWEEN 0 AND amount_usd_nanos", name="within_amount"),
        sa.CheckConstraint("(state = 'held') = (ended_at_us IS NULL)", name="ended"),
    )
    taken = sa.text("item_id IS NOT NULL AND state <> 'released'")
    op.create_index(
        "ix_mandate_uses_item",
        "mandate_uses",
        ["mandate_id", "item_id"],
        unique=True,
        postgresql_where=taken,
        sqlite_where=taken,
    )
    op.create_index("ix_mandate_uses_created", "mandate_uses", ["mandate_id", "created_at_us"])
    op.create_table(
        "prepared_mandates",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("valid_from_s", sa.BigInteger(), nullable=False),
        sa.Column("ends_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "fingerprint"),
    )
    op.create_index("ix_prepared_mandates_ends_at_us", "prepared_mandates", ["ends_at_us"])


def downgrade() -> None:
    for table in ("prepared_mandates", "mandate_uses", "mandates"):
        op.drop_table(table)
