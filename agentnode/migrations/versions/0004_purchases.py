"""What is bought over HTTP: purses of receipts, and deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0004"
down_revision = "agentnode_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment_intent") as intents:
        intents.add_column(sa.Column("price_version", sa.String(), server_default=""))
        intents.add_column(sa.Column("fills_purse", sa.Boolean(), server_default=sa.false()))
    with op.batch_alter_table("payment_intent") as intents:
        intents.alter_column("price_version", existing_type=sa.String(), nullable=False, server_default=None)
        intents.alter_column("fills_purse", existing_type=sa.Boolean(), nullable=False, server_default=None)
    op.create_table(
        "delivery",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String()),
        sa.Column("counter", sa.BigInteger()),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("identifier", sa.String()),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("state IN ('working', 'done', 'received')", name="state_known"),
    )
    op.create_index("uq_delivery_counter", "delivery", ["receipt_id", "counter"], unique=True)
    op.create_index("uq_delivery_identifier", "delivery", ["payer", "identifier"], unique=True)


def downgrade() -> None:
    op.drop_table("delivery")
    with op.batch_alter_table("payment_intent") as table:
        table.drop_column("fills_purse")
        table.drop_column("price_version")
