"""Buyers keep what sellers signed of price and delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0008"
down_revision = "agentnode_0007"
branch_labels = None
depends_on = None

_ADDED = ("signed_offer", "signed_delivery")


def upgrade() -> None:
    with op.batch_alter_table("hire_call") as calls:
        for name in _ADDED:
            calls.add_column(sa.Column(name, sa.String(), server_default=""))
    with op.batch_alter_table("hire_call") as calls:
        for name in _ADDED:
            calls.alter_column(name, existing_type=sa.String(), nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("hire_call") as calls:
        for name in reversed(_ADDED):
            calls.drop_column(name)
