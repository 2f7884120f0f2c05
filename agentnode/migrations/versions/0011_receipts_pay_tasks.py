"""Tasks that receipts of earlier payments paid for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0011"
down_revision = "agentnode_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("payment_intent") as intents:
        intents.add_column(sa.Column("receipt_id", sa.String()))
        intents.add_column(sa.Column("receipt_counter", sa.BigInteger()))
    with op.batch_alter_table("payment_intent") as intents:  # SQLite then writes the table anew, as it is declared
        intents.alter_column("receipt_counter", existing_type=sa.BigInteger(), nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("payment_intent") as intents:
        intents.drop_column("receipt_counter")
        intents.drop_column("receipt_id")
