"""The journal's last states, what watches them, and who else may carry a settlement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0002"
down_revision = "agentnode_0001"
branch_labels = None
depends_on = None

_POINTS = "'planned', 'signed', 'broadcast', 'confirmed', 'reorged', 'failed', 'abandoned'"
_OLD_POINTS = "'planned', 'signed', 'broadcast', 'settled', 'failed'"
_PAYS = "payment_id <> '' AND point NOT IN ('failed', 'abandoned')"
_OLD_PAYS = "payment_id <> '' AND point <> 'failed'"
_ADDED = ("via", "compliance_version")


def upgrade() -> None:
    op.drop_index("uq_settlement_payment_open", "settlement")
    with op.batch_alter_table("settlement") as settlement:
        settlement.drop_constraint("point_known", type_="check")
        settlement.add_column(sa.Column("look_at_us", sa.BigInteger()))
        settlement.add_column(sa.Column("handed", sa.JSON()))
        for name in _ADDED:
            settlement.add_column(sa.Column(name, sa.String(), server_default=""))
    op.execute("UPDATE settlement SET point = 'confirmed' WHERE point = 'settled'")
    with op.batch_alter_table("settlement") as settlement:
        for name in _ADDED:
            settlement.alter_column(name, nullable=False, server_default=None, existing_type=sa.String())
        settlement.create_check_constraint("point_known", f"point IN ({_POINTS})")
    _pays_index(_PAYS)
    watched = sa.text("look_at_us IS NOT NULL")
    op.create_index(
        "ix_settlement_watched", "settlement", ["look_at_us"], sqlite_where=watched, postgresql_where=watched
    )
    op.create_index("ix_settlement_created", "settlement", ["created_at_us", "id"])
    op.create_index("ix_settlement_payer", "settlement", ["payer", "created_at_us"])
    op.create_table(
        "journal_mark",
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("searched_block", sa.BigInteger(), nullable=False),
        sa.Column("older_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("network"),
    )


def downgrade() -> None:
    op.drop_table("journal_mark")
    for name in ("uq_settlement_payment_open", "ix_settlement_watched", "ix_settlement_created", "ix_settlement_payer"):
        op.drop_index(name, "settlement")
    with op.batch_alter_table("settlement") as settlement:
        settlement.drop_constraint("point_known", type_="check")
    op.execute("UPDATE settlement SET point = 'settled' WHERE point IN ('confirmed', 'reorged')")
    op.execute("UPDATE settlement SET point = 'failed' WHERE point = 'abandoned'")
    with op.batch_alter_table("settlement") as settlement:
        for name in (*_ADDED, "look_at_us", "handed"):
            settlement.drop_column(name)
        settlement.create_check_constraint("point_known", f"point IN ({_OLD_POINTS})")
    _pays_index(_OLD_PAYS)


def _pays_index(condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        "uq_settlement_payment_open",
        "settlement",
        ["payment_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
