"""Tenants and API keys: made, shown once, recognised, revoked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sqlalchemy import text
from sqlmodel import col, select

from ledger.accounts.scopes import Caller, checked_scopes
from ledger.accounts.tables import ApiKeyRow, TenantRow
from ledger.clock import Clock
from ledger.database import Database
from ledger.errors import InvalidInput, KeyInvalid, NotFound
from ledger.ids import new_id

_SECRET = re.compile(r"p402_(live|test)_[0-9a-f]{64}")
_SHOWN_CHARACTERS = len("p402_live_") + 6
_NAME = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,200}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


class KeyHasher(Protocol):
    """A hash under a secret of the node, so that a stolen database does not let keys be tried offline."""

    def keyed_hash(self, data: bytes) -> str: ...


@dataclass(frozen=True)
class KeySummary:
    """A key as lists show it."""

    id: str
    tenant_id: str
    name: str
    scopes: frozenset[str]
    shown: str
    created_at_us: int
    revoked_at_us: int | None = None


@dataclass(frozen=True)
class NewKey:
    """A key just made. `secret` is in this answer and nowhere else."""

    id: str
    tenant_id: str
    name: str
    scopes: frozenset[str]
    secret: str = field(repr=False)


class Accounts:
    """Who may spend from what. The tenants `node` (the operator's own) and `public` (anonymous payers) always exist."""

    def __init__(self, database: Database, clock: Clock, hasher: KeyHasher) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher

    async def ensure_tenant(self, tenant_id: str, name: str, billing: Literal["open", "prepaid"] = "open") -> None:
        """Make the tenant where there is none; one that exists stays as it is. Raises InvalidInput for a bad name."""
        if not _TENANT.fullmatch(tenant_id):
            raise InvalidInput("tenant_id", "must be 1 to 100 letters, digits or _ . : -")
        async with self._database.write() as session:
            await (await session.connection()).execute(
                text(
                    "INSERT INTO tenants (id, name, billing, created_at_us) VALUES (:id, :name, :billing, :now_us)"
                    " ON CONFLICT DO NOTHING"
                ),
                {"id": tenant_id, "name": _checked_name(name), "billing": billing, "now_us": self._clock.now_us()},
            )

    async def create_key(self, tenant_id: str, name: str, scopes: Iterable[str], live: bool = True) -> NewKey:
        """A new key of the tenant.

        Raises InvalidInput for a bad name or an unknown scope, NotFound where there is no such tenant.
        """
        granted = checked_scopes(scopes)
        secret = f"p402_{'live' if live else 'test'}_{secrets.token_hex(32)}"
        row = ApiKeyRow(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=_checked_name(name),
            key_hash=self._hasher.keyed_hash(secret.encode()),
            shown=secret[:_SHOWN_CHARACTERS],
            scopes=sorted(granted),
            created_at_us=self._clock.now_us(),
        )
        async with self._database.write() as session:
            if await session.get(TenantRow, tenant_id) is None:
                raise NotFound(f"there is no tenant {tenant_id}")
            session.add(row)
        return NewKey(row.id, tenant_id, row.name, granted, secret)

    async def authenticate(self, secret: str) -> Caller:
        """The caller that a key stands for. Raises KeyInvalid for an unknown, revoked or malformed one."""
        if not _SECRET.fullmatch(secret):
            raise KeyInvalid("the key is not of the form p402_live_...; send it as Authorization: Bearer <key>")
        key_hash = self._hasher.keyed_hash(secret.encode())
        async with self._database.read() as session:
            row = (await session.exec(select(ApiKeyRow).where(ApiKeyRow.key_hash == key_hash))).first()
        if row is None or row.revoked_at_us is not None:
            raise KeyInvalid("the key is unknown or was revoked; ask its tenant for another")
        return Caller(row.tenant_id, row.id, frozenset(row.scopes))

    async def keys(self, tenant_id: str) -> list[KeySummary]:
        """The tenant's keys, newest first, without their secrets."""
        newest_first = col(ApiKeyRow.created_at_us).desc()
        async with self._database.read() as session:
            rows = await session.exec(
                select(ApiKeyRow).where(ApiKeyRow.tenant_id == tenant_id).order_by(newest_first, col(ApiKeyRow.id))
            )
            return [_summary(row) for row in rows]

    async def revoke_key(self, tenant_id: str, key_id: str) -> KeySummary:
        """From now on nobody is recognised by it; again: as it is. Raises NotFound for a key of another tenant."""
        async with self._database.write() as session:
            row = await session.get(ApiKeyRow, key_id)
            if row is None or row.tenant_id != tenant_id:
                raise NotFound(f"there is no key {key_id}")
            if row.revoked_at_us is None:
                row.revoked_at_us = self._clock.now_us()
            return _summary(row)


def _summary(row: ApiKeyRow) -> KeySummary:
    return KeySummary(
        row.id, row.tenant_id, row.name, frozenset(row.scopes), row.shown, row.created_at_us, row.revoked_at_us
    )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput("name", "must be 1 to 200 characters without control characters")
    return name
