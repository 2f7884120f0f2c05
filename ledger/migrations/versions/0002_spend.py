"""Holds say how they take from each budget, and who paid; events name session and key, and what credits paid."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_0002"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None

_KINDS = "'engine_call', 'paid_task', 'hire', 'refund', 'cache_hit', 'correction'"
_MONEY = (
    "cost_usd_nanos >= 0 AND upstream_cost_usd_nanos >= 0 AND overrun_usd_nanos >= 0 AND revenue_usd_nanos >= 0"
    " AND credits_usd_nanos >= 0"
)
_OLD_MONEY = (
    "cost_usd_nanos >= 0 AND upstream_cost_usd_nanos >= 0 AND overrun_usd_nanos >= 0 AND revenue_usd_nanos >= 0"
)
_NAMES = sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")
_NUMBERS = sa.JSON().with_variant(postgresql.ARRAY(sa.BigInteger()), "postgresql")

# Until now every hold took the whole amount from each of its budgets.
_FILL_POSTGRES = """
UPDATE holds SET hows = array_fill('whole'::text, ARRAY[cardinality(budgets)]), parts = array_fill(
    CASE WHEN state = 'held' THEN amount_usd_nanos ELSE captured_usd_nanos END, ARRAY[cardinality(budgets)])
"""
# SQLite takes an aggregate over outer columns for the outer query's: each names a column of json_each too.
_FILL_SQLITE = """
UPDATE holds SET hows = (SELECT json_group_array(iif(key >= 0, 'whole', key)) FROM json_each(budgets)), parts = (
    SELECT json_group_array(iif(key >= 0 AND state = 'held', amount_usd_nanos, captured_usd_nanos))
    FROM json_each(budgets))
"""


def upgrade() -> None:
    with op.batch_alter_table("holds") as holds:
        holds.add_column(sa.Column("hows", _NAMES))
        holds.add_column(sa.Column("parts", _NUMBERS))
        holds.add_column(sa.Column("request_key", sa.String()))
    op.execute(_FILL_SQLITE if op.get_bind().dialect.name == "sqlite" else _FILL_POSTGRES)
    with op.batch_alter_table("holds") as holds:
        holds.alter_column("hows", nullable=False, existing_type=_NAMES)
        holds.alter_column("parts", nullable=False, existing_type=_NUMBERS)
    keyed = sa.text("request_key IS NOT NULL")
    columns = ["tenant_id", "request_key", "created_at_us"]
    op.create_index("ix_holds_request", "holds", columns, postgresql_where=keyed, sqlite_where=keyed)

    with op.batch_alter_table("economic_events") as events:
        events.add_column(sa.Column("session_id", sa.String()))
        events.add_column(sa.Column("key_id", sa.String()))
        events.add_column(sa.Column("credits_usd_nanos", sa.BigInteger(), server_default="0"))
    with op.batch_alter_table("economic_events") as events:
        events.alter_column("credits_usd_nanos", nullable=False, server_default=None, existing_type=sa.BigInteger())
        events.drop_constraint("kind", type_="check")
        events.drop_constraint("money", type_="check")
        events.create_check_constraint("kind", f"kind IN ({_KINDS}, 'refusal')")
        events.create_check_constraint("money", _MONEY)
    in_session = sa.text("session_id IS NOT NULL")
    op.create_index(
        "ix_economic_events_session",
        "economic_events",
        ["session_id", "at_us"],
        postgresql_where=in_session,
        sqlite_where=in_session,
    )


def downgrade() -> None:
    op.drop_index("ix_economic_events_session", "economic_events")
    op.drop_index("ix_holds_request", "holds")
    with op.batch_alter_table("economic_events") as events:
        events.drop_constraint("kind", type_="check")
        events.drop_constraint("money", type_="check")
        events.create_check_constraint("kind", f"kind IN ({_KINDS})")
        events.create_check_constraint("money", _OLD_MONEY)
        for name in ("session_id", "key_id", "credits_usd_nanos"):
            events.drop_column(name)
    with op.batch_alter_table("holds") as holds:
        for name in ("hows", "parts", "request_key"):
            holds.drop_column(name)
