"""Rows of push configurations. The URL and its secrets are in the vault; here is only whose they are."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field

from ledger.database import Row


class PushConfigRow(Row, table=True):
    __tablename__ = "push_config"

    task_id: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    tenant_id: str
    host: str
    dialect: str
    """In which protocol it was asked for, and is told"""
    created_at_us: int = Field(sa_type=BigInteger)
