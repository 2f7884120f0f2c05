"""What a settlement's call took when it was tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0009"
down_revision = "agentnode_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("settlement") as settlements:
        settlements.add_column(sa.Column("gas", sa.BigInteger()))
    with op.batch_alter_table("settlement") as settlements:  # SQLite then writes the table anew, as it is declared
        settlements.alter_column("gas", existing_type=sa.BigInteger(), nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("settlement") as settlements:
        settlements.drop_column("gas")
