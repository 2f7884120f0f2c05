"""Refunds, and until when they may be asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0010"
down_revision = "agentnode_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment_receipt") as receipts:
        receipts.add_column(sa.Column("refundable_until_us", sa.BigInteger(), server_default="0"))
    with op.batch_alter_table("payment_receipt") as receipts:
        receipts.alter_column("refundable_until_us", existing_type=sa.BigInteger(), nullable=False, server_default=None)
    op.create_table(
        "refund",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("settlement_id", sa.String(), nullable=False),
        sa.Column("amount_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("receipt_id"),
        sa.UniqueConstraint("settlement_id"),
        sa.CheckConstraint("asked_by IN ('payer', 'operator')", name="asked_by_known"),
        sa.CheckConstraint("amount_usd_nanos > 0", name="amount_positive"),
    )
    op.create_index("ix_refund_payment_id", "refund", ["payment_id"])


def downgrade() -> None:
    op.drop_table("refund")
    with op.batch_alter_table("payment_receipt") as receipts:
        receipts.drop_column("refundable_until_us")
