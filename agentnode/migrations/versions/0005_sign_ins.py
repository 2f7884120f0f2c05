"""Signing in with a wallet: nonces that were used, and what a payer has bought found by its request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0005"
down_revision = "agentnode_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "used_sign_in",
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("ends_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce"),
    )
    op.create_index("ix_used_sign_in_ends_at_us", "used_sign_in", ["ends_at_us"])
    op.create_index("ix_delivery_bought", "delivery", ["payer", "input_hash"])


def downgrade() -> None:
    op.drop_index("ix_delivery_bought", "delivery")
    op.drop_table("used_sign_in")
