"""Tenants and API keys: made, shown once, recognised, rotated, revoked."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from weakref import WeakValueDictionary

from sqlalchemy import text
from sqlmodel import col, or_, select

from ledger.accounts.scopes import Caller, checked_scopes
from ledger.accounts.tables import ApiKeyRow, TenantRow
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import Conflict, InvalidInput, KeyInvalid, NotFound
from ledger.ids import new_id

_SECRET = re.compile(r"p402_(live|test)_[0-9a-f]{64}")
_SHOWN_CHARACTERS = len("p402_live_") + 6
_NAME = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,200}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_KEEP_US = SECOND_US
_MANY = 100_000
_MAX_OVERLAP_S = 30 * 86_400


class KeyHasher(Protocol):
    """A hash under a secret of the node, so that a stolen database does not let keys be tried offline."""

    def keyed_hash(self, data: bytes) -> str: ...


@dataclass(frozen=True)
class KeySummary:
    """A key as lists show it."""

    id: str
    tenant_id: str
    name: str
    role: str | None
    scopes: frozenset[str]
    shown: str
    created_at_us: int
    revoked_at_us: int | None
    previous_until_us: int | None
    """Until when the secret before the last rotation is good too."""


@dataclass(frozen=True)
class NewKey:
    """A key just made, or its secret just changed. `secret` is in this answer and nowhere else."""

    id: str
    tenant_id: str
    name: str
    role: str | None
    scopes: frozenset[str]
    secret: str = field(repr=False)
    previous_until_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Recognised:
    caller: Caller
    at_us: int
    until_us: int

    def serves(self, now_us: int) -> bool:
        return self.at_us <= now_us < self.until_us


class Accounts:
    """Who may spend from what. The tenants `node` (the operator's own) and `public` (anonymous payers) always exist."""

    def __init__(self, database: Database, clock: Clock, hasher: KeyHasher) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._recognised: dict[bytes, _Recognised] = {}
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def ensure_tenant(self, tenant_id: str, name: str, billing: Literal["open", "prepaid"] = "open") -> bool:
        """Make the tenant where there is none; one that exists stays as it is. Whether it was made.

        Raises InvalidInput for a bad name.
        """
        if not _TENANT.fullmatch(tenant_id):
            raise InvalidInput("tenant_id", "must be 1 to 100 letters, digits or _ . : -")
        async with self._database.write() as session:
            made = await (await session.connection()).execute(
                text(
                    "INSERT INTO tenants (id, name, billing, created_at_us) VALUES (:id, :name, :billing, :now_us)"
                    " ON CONFLICT DO NOTHING RETURNING id"
                ),
                {"id": tenant_id, "name": _checked_name(name), "billing": billing, "now_us": self._clock.now_us()},
            )
            return made.first() is not None

    async def create_key(
        self, tenant_id: str, name: str, scopes: Iterable[str], *, role: str | None = None, live: bool = True
    ) -> NewKey:
        """A new key of the tenant. `role` is the name under which its scopes were asked for.

        Raises InvalidInput for a bad name or an unknown scope, NotFound where there is no such tenant.
        """
        granted = checked_scopes(scopes)
        secret = _new_secret("live" if live else "test")
        row = ApiKeyRow(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=_checked_name(name),
            key_hash=self._hash(secret),
            shown=secret[:_SHOWN_CHARACTERS],
            scopes=sorted(granted),
            created_at_us=self._clock.now_us(),
            role=role,
        )
        async with self._database.write() as session:
            if await session.get(TenantRow, tenant_id) is None:
                raise NotFound(f"there is no tenant {tenant_id}")
            session.add(row)
        return NewKey(row.id, tenant_id, row.name, role, granted, secret)

    async def authenticate(self, secret: str) -> Caller:
        """The caller that a key stands for. Raises KeyInvalid for an unknown, revoked or malformed one.

        A key that was recognised is so for a second more, unless this process itself has revoked or rotated it.
        """
        # By a plain digest: the keyed one asks the disk whether the node's keys have changed.
        digest = hashlib.sha256(secret.encode(errors="replace")).digest()
        known = self._recognised.get(digest)
        if known is not None and known.serves(self._clock.now_us()):
            return known.caller
        if not _SECRET.fullmatch(secret):
            raise KeyInvalid("the key is not of the form p402_live_...; send it as Authorization: Bearer <key>")
        async with self._turns.setdefault(digest, asyncio.Lock()):
            known, now_us = self._recognised.get(digest), self._clock.now_us()
            if known is None or not known.serves(now_us):
                known = await self._recognise(self._hash(secret), now_us)
                if len(self._recognised) >= _MANY:
                    self._recognised.clear()
                self._recognised[digest] = known
        return known.caller

    async def _recognise(self, key_hash: str, now_us: int) -> _Recognised:
        asked = select(ApiKeyRow).where(or_(ApiKeyRow.key_hash == key_hash, ApiKeyRow.previous_hash == key_hash))
        async with self._database.read() as session:
            row = (await session.exec(asked)).first()
        if row is None or row.revoked_at_us is not None:
            raise KeyInvalid("the key is unknown or was revoked; ask its tenant for another")
        until_us = now_us + _KEEP_US
        if row.key_hash != key_hash:
            if (row.previous_until_us or 0) <= now_us:
                raise KeyInvalid("the key has been rotated, and its old secret's time is over; use the new one")
            until_us = min(until_us, row.previous_until_us or 0)
        return _Recognised(Caller(row.tenant_id, row.id, frozenset(row.scopes)), now_us, until_us)

    async def keys(self, tenant_id: str) -> list[KeySummary]:
        """The tenant's keys, newest first, without their secrets."""
        newest_first = col(ApiKeyRow.created_at_us).desc()
        async with self._database.read() as session:
            rows = await session.exec(
                select(ApiKeyRow).where(ApiKeyRow.tenant_id == tenant_id).order_by(newest_first, col(ApiKeyRow.id))
            )
            return [_summary(row) for row in rows]

    async def key(self, tenant_id: str, key_id: str) -> KeySummary:
        """Raises NotFound for a key of another tenant too."""
        async with self._database.read() as session:
            return _summary(await key_row(session, tenant_id, key_id))

    async def rotate_key(self, tenant_id: str, key_id: str, overlap_s: int = 0) -> NewKey:
        """A new secret for the key; the old one is good for `overlap_s` more, and one before that no more.

        Raises NotFound for a key of another tenant, Conflict for a revoked one.
        """
        if type(overlap_s) is not int or not 0 <= overlap_s <= _MAX_OVERLAP_S:
            raise InvalidInput("overlap_s", f"must be an integer from 0 to {_MAX_OVERLAP_S}")
        async with self._database.write() as session:
            row = await key_row(session, tenant_id, key_id, locks=True)
            if row.revoked_at_us is not None:
                raise Conflict(f"{key_id} was revoked; make another key")
            secret = _new_secret(row.shown.split("_")[1])
            row.previous_hash, row.previous_until_us = row.key_hash, self._clock.now_us() + overlap_s * SECOND_US
            row.key_hash, row.shown = self._hash(secret), secret[:_SHOWN_CHARACTERS]
        self._recognised.clear()
        return NewKey(row.id, tenant_id, row.name, row.role, frozenset(row.scopes), secret, row.previous_until_us)

    async def revoke_key(self, tenant_id: str, key_id: str) -> KeySummary:
        """From now on nobody is recognised by it; again: as it is. Raises NotFound for a key of another tenant."""
        async with self._database.write() as session:
            row = await key_row(session, tenant_id, key_id, locks=True)
            if row.revoked_at_us is None:
                row.revoked_at_us = self._clock.now_us()
            summary = _summary(row)
        self._recognised.clear()
        return summary

    def _hash(self, secret: str) -> str:
        return self._hasher.keyed_hash(secret.encode())


async def key_row(session: AsyncSession, tenant_id: str, key_id: str, locks: bool = False) -> ApiKeyRow:
    """Raises NotFound for a key of another tenant too."""
    asked = select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.tenant_id == tenant_id)
    row = (await session.exec(asked.with_for_update() if locks else asked)).one_or_none()
    if row is None:
        raise NotFound(f"there is no key {key_id}")
    return row


def _new_secret(kind: str) -> str:
    return f"p402_{kind}_{secrets.token_hex(32)}"


def _summary(row: ApiKeyRow) -> KeySummary:
    return KeySummary(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        role=row.role,
        scopes=frozenset(row.scopes),
        shown=row.shown,
        created_at_us=row.created_at_us,
        revoked_at_us=row.revoked_at_us,
        previous_until_us=row.previous_until_us,
    )


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput("name", "must be 1 to 200 characters without control characters")
    return name
