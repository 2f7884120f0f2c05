"""Alembic's entry: runs on the connection that `Database.upgrade` hands in."""

from __future__ import annotations

from alembic import context

from ledger.database import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
