"""What was found out of a seller's card before it was hired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0006"
down_revision = "agentnode_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hire_call") as calls:
        calls.add_column(sa.Column("card", sa.JSON(), server_default="{}"))
    with op.batch_alter_table("hire_call") as calls:
        calls.alter_column("card", existing_type=sa.JSON(), nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("hire_call") as calls:
        calls.drop_column("card")
