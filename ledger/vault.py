"""Content, encrypted with its tenant's key, kept until its end date and then deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import BigInteger, ColumnElement, LargeBinary, text, update
from sqlmodel import Field, col, or_, select

from ledger.clock import Clock
from ledger.database import AsyncSession, Database, Row
from ledger.errors import Unavailable

_NONCE_BYTES = 12
_DELETE_AT_ONCE = 1_000
_MANY_KEYS = 10_000


class VaultUnreadable(Unavailable):
    """Stored content does not open with the node's keys: they are others than those it was sealed with."""

    code = "VAULT_UNREADABLE"


class KeyWrapper(Protocol):
    """The node's key, which wraps the tenants' keys."""

    def wrap(self, key: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes) -> bytes: ...


class VaultKeyRow(Row, table=True):
    __tablename__ = "vault_keys"

    tenant_id: str = Field(primary_key=True)
    wrapped_key: bytes = Field(sa_type=LargeBinary)


class VaultItemRow(Row, table=True):
    __tablename__ = "vault_items"

    tenant_id: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    sealed: bytes = Field(sa_type=LargeBinary)
    """Nonce, then AES-256-GCM; tenant, ref and seq are authenticated, so that no item passes for another."""
    ends_at_us: int | None = Field(default=None, sa_type=BigInteger, index=True)


_DELETE_ENDED = """
DELETE FROM vault_items WHERE (tenant_id, ref, seq) IN
(SELECT tenant_id, ref, seq FROM vault_items WHERE ends_at_us <= :now_us LIMIT :most) RETURNING seq
"""
_PUT_KEY = """
INSERT INTO vault_keys (tenant_id, wrapped_key) VALUES (:tenant_id, :wrapped_key) ON CONFLICT DO NOTHING
"""
_PUT_ITEM = """
INSERT INTO vault_items (tenant_id, ref, seq, sealed, ends_at_us) VALUES (:tenant_id, :ref, :seq, :sealed, :ends_at_us)
ON CONFLICT (tenant_id, ref, seq) DO UPDATE SET sealed = excluded.sealed, ends_at_us = excluded.ends_at_us
"""
_DELETE = "DELETE FROM vault_items WHERE tenant_id = :tenant_id AND ref = :ref AND seq = :seq"


@dataclass(frozen=True)
class VaultItem:
    """Content to be kept under (ref, seq), until its end date if it has one."""

    ref: str
    seq: int
    data: bytes
    ends_at_us: int | None


class Vault:
    """Content by (tenant, ref, seq). It works in the caller's session: content and row commit together.

    Raises VaultUnreadable where what is stored does not open. Content past its end date is not given out, deleted
    yet or not.
    """

    def __init__(self, database: Database, clock: Clock, wrapper: KeyWrapper) -> None:
        self._database = database
        self._clock = clock
        self._wrapper = wrapper
        self._committed: dict[str, bytes] = {}

    async def seal(self, tenant_id: str, item: VaultItem) -> dict[str, Any]:
        """The row of `vault_items` for it, for whoever writes it in a transaction of its own.

        The tenant's key is made and committed first, so that what it sealed opens whatever becomes of that one.
        """
        key = self._committed.get(tenant_id)
        if key is None:
            async with self._database.write() as session:
                key = await self._key(session, tenant_id) or await self._make_key(session, tenant_id)
            if len(self._committed) >= _MANY_KEYS:
                self._committed.clear()
            self._committed[tenant_id] = key
        return _sealed(AESGCM(key), tenant_id, item)

    async def put(
        self, session: AsyncSession, tenant_id: str, ref: str, seq: int, data: bytes, ends_at_us: int | None
    ) -> None:
        """Keep `data`, in place of what stood there; without an end date until `end` gives it one."""
        await self.put_all(session, tenant_id, [VaultItem(ref, seq, data, ends_at_us)])

    async def put_all(self, session: AsyncSession, tenant_id: str, items: Sequence[VaultItem]) -> None:
        """Keep many of one tenant's at once, as `put` keeps one."""
        key = await self._key(session, tenant_id) or await self._make_key(session, tenant_id)
        rows = [_sealed(AESGCM(key), tenant_id, item) for item in items]
        await (await session.connection()).execute(text(_PUT_ITEM), rows)

    async def get(self, session: AsyncSession, tenant_id: str, ref: str, seq: int) -> bytes | None:
        items = await self._open(session, tenant_id, ref, col(VaultItemRow.seq) == seq)
        return items[0][1] if items else None

    async def read(self, tenant_id: str, ref: str, seq: int) -> bytes | None:
        """As `get`, in a session of its own."""
        async with self._database.read() as session:
            return await self.get(session, tenant_id, ref, seq)

    async def range(self, session: AsyncSession, tenant_id: str, ref: str, after_seq: int) -> list[tuple[int, bytes]]:
        """What stands behind `after_seq`, in order."""
        return await self._open(session, tenant_id, ref, col(VaultItemRow.seq) > after_seq)

    async def end(self, session: AsyncSession, tenant_id: str, ref: str, ends_at_us: int) -> None:
        """Give everything under `ref` its end date."""
        mine = (col(VaultItemRow.tenant_id) == tenant_id, col(VaultItemRow.ref) == ref)
        await session.exec(update(VaultItemRow).where(*mine).values(ends_at_us=ends_at_us))

    async def delete(self, session: AsyncSession, tenant_id: str, places: Sequence[tuple[str, int]]) -> None:
        """Remove what stands at each (ref, seq) before its end date."""
        if places:
            rows = [{"tenant_id": tenant_id, "ref": ref, "seq": seq} for ref, seq in places]
            await (await session.connection()).execute(text(_DELETE), rows)

    async def delete_ended(self) -> int:
        """The deletion job: removes what has ended, some at a time; the number removed."""
        deleted = 0
        while True:
            batch = await self._delete_some()
            deleted += batch
            if batch < _DELETE_AT_ONCE:
                return deleted

    async def _delete_some(self) -> int:
        async with self._database.write() as session:
            values = {"now_us": self._clock.now_us(), "most": _DELETE_AT_ONCE}
            return len((await (await session.connection()).execute(text(_DELETE_ENDED), values)).all())

    async def _open(
        self, session: AsyncSession, tenant_id: str, ref: str, which: ColumnElement[bool]
    ) -> list[tuple[int, bytes]]:
        live = or_(col(VaultItemRow.ends_at_us).is_(None), col(VaultItemRow.ends_at_us) > self._clock.now_us())
        mine = (col(VaultItemRow.tenant_id) == tenant_id, col(VaultItemRow.ref) == ref)
        found = select(VaultItemRow.seq, VaultItemRow.sealed).where(*mine, which, live)
        items = (await session.exec(found.order_by(col(VaultItemRow.seq)))).all()
        if not items:
            return []
        key = await self._key(session, tenant_id)
        if key is None:
            raise VaultUnreadable(f"the vault holds no key of {tenant_id}; restore the database from one backup")
        return [(seq, _unsealed(key, sealed, _place(tenant_id, ref, seq))) for seq, sealed in items]

    # Here the key is read each time: one kept in memory could be of a transaction that was undone, and what it sealed
    # would never open again.
    async def _key(self, session: AsyncSession, tenant_id: str) -> bytes | None:
        stored = select(VaultKeyRow.wrapped_key).where(VaultKeyRow.tenant_id == tenant_id)
        wrapped = (await session.exec(stored)).one_or_none()
        if wrapped is None:
            return None
        try:
            return self._wrapper.unwrap(wrapped)
        except (ValueError, InvalidTag) as error:
            raise VaultUnreadable("the node's keys do not open the vault; restore the keys it was made with") from error

    async def _make_key(self, session: AsyncSession, tenant_id: str) -> bytes:
        wrapped_key = self._wrapper.wrap(AESGCM.generate_key(256))
        await (await session.connection()).execute(text(_PUT_KEY), {"tenant_id": tenant_id, "wrapped_key": wrapped_key})
        key = await self._key(session, tenant_id)  # another's, where both made one at the same time
        assert key is not None
        return key


def _sealed(seal: AESGCM, tenant_id: str, item: VaultItem) -> dict[str, Any]:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + seal.encrypt(nonce, item.data, _place(tenant_id, item.ref, item.seq))
    place = {"tenant_id": tenant_id, "ref": item.ref, "seq": item.seq}
    return {**place, "sealed": sealed, "ends_at_us": item.ends_at_us}


def _unsealed(key: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
    except InvalidTag as error:
        raise VaultUnreadable("content in the vault was changed, or belongs elsewhere") from error


def _place(tenant_id: str, ref: str, seq: int) -> bytes:
    return json.dumps([tenant_id, ref, seq]).encode()
