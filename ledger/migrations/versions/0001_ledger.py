"""The ledger's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_0001"
down_revision = None
branch_labels = ("ledger",)
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ORDERED_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    _spend()
    _events()
    _movements()
    _accounts()
    _work()
    _vault()


def downgrade() -> None:
    for table in ("vault_items", "vault_keys", "requests", "claims", "api_keys", "tenants"):
        op.drop_table(table)
    for table in ("movements", "economic_events", "holds", "budgets"):
        op.drop_table(table)


def _spend() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", _ORDERED_ID, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("limit_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("spent_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("held_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("spent_usd_nanos + held_usd_nanos <= limit_usd_nanos", name="within_limit"),
        sa.CheckConstraint(
            "spent_usd_nanos >= 0 AND held_usd_nanos >= 0 AND limit_usd_nanos >= 0", name="not_negative"
        ),
        sa.CheckConstraint("limit_usd_nanos <= 4000000000000000000", name="in_range"),
        sa.CheckConstraint(
            "typeof(limit_usd_nanos) = 'integer' AND typeof(spent_usd_nanos) = 'integer'"
            " AND typeof(held_usd_nanos) = 'integer'",
            name="integers",
        ).ddl_if(dialect="sqlite"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_budgets_tenant_kind_period", "budgets", ["tenant_id", "kind", "period"])
    op.create_table(
        "holds",
        sa.Column("id", _ORDERED_ID, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("budgets", sa.JSON().with_variant(sa.ARRAY(sa.Text()), "postgresql"), nullable=False),
        sa.Column("amount_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("ends_by", sa.String(), nullable=False),
        sa.Column("sent_at_us", sa.BigInteger()),
        sa.Column("floor_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("floor_event", _JSON),
        sa.Column("captured_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("overrun_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String()),
        sa.Column("ended_by", sa.String()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("state IN ('held', 'captured', 'released')", name="state"),
        sa.CheckConstraint("ends_by IN ('lease', 'chain')", name="ends_by"),
        sa.CheckConstraint("ended_by IN ('owner', 'sweeper')", name="ended_by"),
        sa.CheckConstraint("(state = 'held') = (ended_at_us IS NULL)", name="ended_at"),
        sa.CheckConstraint("(state = 'held') = (ended_by IS NULL)", name="ended"),
        sa.CheckConstraint(
            "amount_usd_nanos >= 0 AND floor_usd_nanos >= 0 AND captured_usd_nanos >= 0 AND overrun_usd_nanos >= 0",
            name="not_negative",
        ),
        sa.CheckConstraint("state = 'captured' OR captured_usd_nanos + overrun_usd_nanos = 0", name="captured"),
        sa.CheckConstraint("fence >= 1", name="fence"),
        postgresql_with={"fillfactor": 70},
    )
    open_holds = sa.text("state = 'held'")
    op.create_index("ix_holds_lease", "holds", ["lease_until_us"], postgresql_where=open_holds, sqlite_where=open_holds)
    op.create_index("ix_holds_tenant", "holds", ["tenant_id", "created_at_us"])


def _events() -> None:
    op.create_table(
        "economic_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String()),
        sa.Column("task_id", sa.String()),
        sa.Column("provider", sa.String()),
        sa.Column("model", sa.String()),
        sa.Column("price_version", sa.String()),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("upstream_cost_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("overrun_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("revenue_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger()),
        sa.Column("mandate_id", sa.String()),
        sa.Column("mandate_use_id", sa.String()),
        sa.Column("receipt_id", sa.String()),
        sa.Column("payment_id", sa.String()),
        sa.Column("decision", sa.String()),
        sa.Column("deny_code", sa.String()),
        sa.Column("evidence_status", sa.String(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("corrects", sa.String()),
        sa.Column("attribution", _JSON, nullable=False),
        sa.Column("trace", _JSON, nullable=False),
        sa.Column("privacy_mode", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(
            "kind IN ('engine_call', 'paid_task', 'hire', 'refund', 'cache_hit', 'correction')", name="kind"
        ),
        sa.CheckConstraint("evidence_status IN ('present', 'missing')", name="evidence_status"),
        sa.CheckConstraint(
            "cost_usd_nanos >= 0 AND upstream_cost_usd_nanos >= 0"
            " AND overrun_usd_nanos >= 0 AND revenue_usd_nanos >= 0",
            name="money",
        ),
    )
    op.create_index("ix_economic_events_tenant_at", "economic_events", ["tenant_id", "at_us", "id"])
    op.create_index("ix_economic_events_tenant_request", "economic_events", ["tenant_id", "request_id"])
    op.create_index("ix_economic_events_task", "economic_events", ["task_id"])


def _movements() -> None:
    op.create_table(
        "movements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("hold_id", sa.String()),
        sa.Column("event_id", sa.String()),
        sa.Column("from_account", sa.String(), nullable=False),
        sa.Column("to_account", sa.String(), nullable=False),
        sa.Column("usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("kind IN ('capture', 'funding', 'settlement', 'refund')", name="kind"),
        sa.CheckConstraint("usd_nanos > 0", name="positive"),
        sa.CheckConstraint("from_account <> to_account", name="two_accounts"),
    )
    op.create_index("ix_movements_from", "movements", ["from_account", "at_us"])
    op.create_index("ix_movements_to", "movements", ["to_account", "at_us"])


def _accounts() -> None:
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("billing", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("billing IN ('open', 'prepaid')", name="billing"),
    )
    op.bulk_insert(
        tenants,
        [
            {"id": "node", "name": "The operator's own", "billing": "open", "created_at_us": 0},
            {"id": "public", "name": "Anonymous payers", "billing": "open", "created_at_us": 0},
        ],
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.UniqueConstraint("key_hash"),
    )
    op.create_index("ix_api_keys_tenant_id", "api_keys", ["tenant_id"])


def _work() -> None:
    op.create_table(
        "claims",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref"),
    )
    op.create_table(
        "requests",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("body_hash", sa.String(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("ref", sa.String()),
        sa.Column("tenant_id", sa.String()),
        sa.Column("status", sa.Integer()),
        sa.Column("finished_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("scope", "key"),
        sa.CheckConstraint("(finished_at_us IS NULL) = (status IS NULL)", name="finished_with_status"),
        sa.CheckConstraint("finished_at_us IS NULL OR tenant_id IS NOT NULL", name="finished_for_a_tenant"),
    )


def _vault() -> None:
    op.create_table(
        "vault_keys",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "vault_items",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("tenant_id", "ref", "seq"),
    )
    op.create_index("ix_vault_items_ends_at_us", "vault_items", ["ends_at_us"])
