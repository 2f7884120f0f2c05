"""The node's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agentnode_0001"
down_revision = None
branch_labels = ("agentnode",)
depends_on = None


def upgrade() -> None:
    _a2a()
    _hire()
    _payments()


def downgrade() -> None:
    for table in (
        "payment_receipt",
        "settlement_attempt",
        "settlement",
        "payment_intent",
        "hire_call",
        "task_event",
        "task",
    ):
        op.drop_table(table)


def _a2a() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("context_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("payer", sa.String()),
        sa.Column("skill", sa.String(), nullable=False),
        sa.Column("dialect", sa.String(), nullable=False),
        sa.Column("x402_version", sa.Integer(), nullable=False),
        sa.Column("price_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String()),
        sa.Column("lease_until_us", sa.BigInteger()),
        sa.Column("expires_at_us", sa.BigInteger()),
        sa.Column("open_key", sa.String()),
        sa.Column("receipt_id", sa.String()),
        sa.Column("payment_id", sa.String()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("status_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("open_key"),
        sa.CheckConstraint(
            "state IN ('submitted', 'working', 'input-required', 'completed', 'failed', 'canceled', 'rejected')",
            name="state",
        ),
        sa.CheckConstraint("dialect IN ('1.0', '0.3', 'p402')", name="dialect"),
        sa.CheckConstraint("x402_version IN (1, 2)", name="x402_version"),
        sa.CheckConstraint("price_usd_nanos >= 0", name="price"),
        sa.CheckConstraint("seq >= 1 AND version >= 1", name="counted"),
        sa.CheckConstraint(
            "(state IN ('completed', 'failed', 'canceled', 'rejected')) = (ended_at_us IS NOT NULL)", name="ended"
        ),
        sa.CheckConstraint(
            "ended_at_us IS NULL OR (lease_until_us IS NULL AND open_key IS NULL)", name="ended_is_free"
        ),
    )
    op.create_index("ix_task_tenant", "task", ["tenant_id", "status_at_us", "id"])
    op.create_index("ix_task_context", "task", ["context_id", "status_at_us", "id"])
    for name, columns, condition in (
        ("ix_task_payer", ["payer", "status_at_us", "id"], "payer IS NOT NULL"),
        ("ix_task_lease", ["lease_until_us"], "lease_until_us IS NOT NULL"),
        ("ix_task_quote", ["expires_at_us"], "expires_at_us IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "task", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "task_event",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String()),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "seq"),
    )


def _hire() -> None:
    op.create_table(
        "hire_call",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String()),
        sa.Column("card_url", sa.String(), nullable=False),
        sa.Column("skill", sa.String()),
        sa.Column("point", sa.String(), nullable=False),
        sa.Column("mandate_id", sa.String()),
        sa.Column("use_id", sa.String(), nullable=False),
        sa.Column("amount_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("payee", sa.String(), nullable=False),
        sa.Column("amount_atomic", sa.Text(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("valid_before_s", sa.BigInteger(), nullable=False),
        sa.Column("signed_at_block", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("context_id", sa.String(), nullable=False),
        sa.Column("task_state", sa.String(), nullable=False),
        sa.Column("task_ended", sa.Boolean(), nullable=False),
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("receipt", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("point IN ('planned', 'signed', 'paid', 'released')", name="point"),
        sa.CheckConstraint("point <> 'signed' OR (nonce <> '' AND valid_before_s > 0)", name="signed"),
        sa.CheckConstraint("amount_usd_nanos > 0", name="amount"),
    )
    open_calls = sa.text("point IN ('planned', 'signed') OR (point = 'paid' AND task_ended = false)")
    signed_calls = sa.text("nonce <> ''")
    op.create_index("ix_hire_call_tenant", "hire_call", ["tenant_id", "created_at_us", "id"])
    op.create_index(
        "ix_hire_call_open", "hire_call", ["updated_at_us"], sqlite_where=open_calls, postgresql_where=open_calls
    )
    op.create_index(
        "uq_hire_call_authorization",
        "hire_call",
        ["network", "asset", "payer", "nonce"],
        unique=True,
        sqlite_where=signed_calls,
        postgresql_where=signed_calls,
    )


def _payments() -> None:
    op.create_table(
        "payment_intent",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("quote_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("price_usd_nanos", sa.BigInteger(), nullable=False),
        sa.Column("amount_atomic", sa.Text(), nullable=False),
        sa.Column("asset", sa.JSON(), nullable=False),
        sa.Column("pay_to", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("max_timeout_s", sa.Integer(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task_id"),
        sa.CheckConstraint("status IN ('required', 'paid', 'rejected', 'expired')", name="status_known"),
        sa.CheckConstraint("price_usd_nanos > 0", name="price_positive"),
    )
    op.create_table(
        "settlement",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("point", sa.String(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("payee", sa.String(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.Column("amount_atomic", sa.Text(), nullable=False),
        sa.Column("valid_before_s", sa.BigInteger(), nullable=False),
        sa.Column("call_data", sa.String(), nullable=False),
        sa.Column("planned_block", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("account_nonce", sa.BigInteger()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("block_number", sa.BigInteger()),
        sa.Column("block_hash", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("point IN ('planned', 'signed', 'broadcast', 'settled', 'failed')", name="point_known"),
    )
    op.create_index("uq_settlement_authorization", "settlement", ["network", "asset", "payer", "nonce"], unique=True)
    paying = sa.text("payment_id <> '' AND point <> 'failed'")
    op.create_index(
        "uq_settlement_payment_open",
        "settlement",
        ["payment_id"],
        unique=True,
        sqlite_where=paying,
        postgresql_where=paying,
    )
    going = sa.text("point IN ('planned', 'signed', 'broadcast')")
    op.create_index("ix_settlement_open", "settlement", ["seq"], sqlite_where=going, postgresql_where=going)
    op.create_table(
        "settlement_attempt",
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("settlement_id", sa.String(), nullable=False),
        sa.Column("account_nonce", sa.BigInteger(), nullable=False),
        sa.Column("raw_tx", sa.String(), nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=False),
        sa.Column("max_fee_per_gas", sa.String(), nullable=False),
        sa.Column("max_priority_fee_per_gas", sa.String(), nullable=False),
        sa.Column("signed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tx_hash"),
    )
    op.create_index("ix_settlement_attempt_settlement_id", "settlement_attempt", ["settlement_id"])
    op.create_table(
        "payment_receipt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("settlement_id", sa.String(), nullable=False),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("payee", sa.String(), nullable=False),
        sa.Column("amount_atomic", sa.Text(), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("settled_at_us", sa.BigInteger(), nullable=False),
        sa.Column("jws", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("payment_id"),
        sa.UniqueConstraint("settlement_id"),
    )
    op.create_index("ix_payment_receipt_task_id", "payment_receipt", ["task_id"])
    op.create_index("ix_payment_receipt_payer", "payment_receipt", ["payer"])
