"""Where a task's caller wants to hear of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0003"
down_revision = "agentnode_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "push_config",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("dialect", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "id"),
    )
    with op.batch_alter_table("task") as task:
        task.add_column(sa.Column("push_since_us", sa.BigInteger()))
        task.create_check_constraint("push_since", "push_since_us > 0")


def downgrade() -> None:
    with op.batch_alter_table("task") as task:
        task.drop_constraint("push_since", type_="check")
        task.drop_column("push_since_us")
    op.drop_table("push_config")
