"""Transfers that payers make themselves stand in the journal too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0007"
down_revision = "agentnode_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("settlement") as settlements:
        settlements.add_column(sa.Column("scheme", sa.String(), server_default="exact"))
    with op.batch_alter_table("settlement") as settlements:
        settlements.alter_column("scheme", existing_type=sa.String(), nullable=False, server_default=None)
        settlements.create_check_constraint("scheme_known", "scheme IN ('exact', 'onchain')")


def downgrade() -> None:
    with op.batch_alter_table("settlement") as settlements:
        settlements.drop_constraint("scheme_known", type_="check")
        settlements.drop_column("scheme")
