"""A count that the data folder keeps too, so that a restored database is known to be older."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0012"
down_revision = "agentnode_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("journal_mark") as marks:
        marks.add_column(sa.Column("beat", sa.BigInteger(), server_default="0"))
    with op.batch_alter_table("journal_mark") as marks:
        marks.alter_column("beat", existing_type=sa.BigInteger(), nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("journal_mark") as marks:
        marks.drop_column("beat")
