"""The same request twice is done once: a marker while it is at work, then the reply, then what it made."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import select

from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import Conflict, IdempotencyConflict, RequestInProgress
from ledger.vault import Vault
from ledger.work.tables import RequestRow

_KEEP_REPLY_S = 24 * 3600
_START = """
INSERT INTO requests (scope, key, body_hash, lease_until_us) VALUES (:scope, :key, :body_hash, :until_us)
ON CONFLICT DO NOTHING RETURNING key
"""


@dataclass(frozen=True)
class Replay:
    """What the first of the same requests came to.

    `ref`: what it made, if it said so. `status` and `content`: its reply; no status while it is still at work (then
    there is a `ref`), no content once the reply has ended (24 h).
    """

    ref: str | None
    status: int | None
    content: bytes | None


class Idempotency:
    """Requests by (scope, key): a scope names caller, method and route. The key and the body's hash stay for good."""

    def __init__(self, database: Database, clock: Clock, vault: Vault) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault

    async def begin(self, scope: str, key: str, body_hash: str, lease_s: float = 60) -> Replay | None:
        """None: this is the first, go on, then `finish` or `abandon`. A Replay: answer from it.

        Raises IdempotencyConflict for another body under the same key, RequestInProgress while the first is at work.
        """
        now_us = self._clock.now_us()
        until_us = now_us + int(lease_s * SECOND_US)
        async with self._database.write() as session:
            values = {"scope": scope, "key": key, "body_hash": body_hash, "until_us": until_us}
            connection = await session.connection()
            if (await connection.execute(text(_START), values)).first() is not None:
                return None
            row = await _locked(session, scope, key)
            if row.body_hash != body_hash:
                raise IdempotencyConflict(f"the key {key!r} came before with another body; use a new key")
            if row.status is not None:
                content = await self._vault.get(session, str(row.tenant_id), _vault_ref(scope, key), 0)
                return Replay(row.ref, row.status, content)
            if row.ref is not None:
                return Replay(row.ref, None, None)
            if row.lease_until_us > now_us:
                wait_ms = (row.lease_until_us - now_us) // 1000 + 1
                raise RequestInProgress("the first of the same requests is still at work", retry_after_ms=wait_ms)
            row.lease_until_us = until_us
            return None

    async def bind(self, session: AsyncSession, scope: str, key: str, ref: str) -> None:
        """Say, in the transaction that makes it, what the request made: from then on it is never run again.

        Raises Conflict where the lease ran out and another run has made something first.
        """
        row = await _locked(session, scope, key)
        if row.ref not in (None, ref) or row.status is not None:
            raise Conflict("the same request was run by another in the meantime; ask again for its answer")
        row.ref = ref

    async def finish(self, scope: str, key: str, *, tenant_id: str, status: int, content: bytes) -> None:
        """Keep the reply for the tenant's next try; the first to finish stays."""
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            row = await _locked(session, scope, key)
            if row.status is not None:
                return
            row.tenant_id, row.status, row.finished_at_us = tenant_id, status, now_us
            ends_at_us = now_us + _KEEP_REPLY_S * SECOND_US
            await self._vault.put(session, tenant_id, _vault_ref(scope, key), 0, content, ends_at_us)

    async def abandon(self, scope: str, key: str) -> None:
        """Forget a request that did nothing, so that its next try runs."""
        async with self._database.write() as session:
            await (await session.connection()).execute(
                text("DELETE FROM requests WHERE scope = :scope AND key = :key AND ref IS NULL AND status IS NULL"),
                {"scope": scope, "key": key},
            )


async def _locked(session: AsyncSession, scope: str, key: str) -> RequestRow:
    mine = select(RequestRow).where(RequestRow.scope == scope, RequestRow.key == key).with_for_update()
    row = (await session.exec(mine)).one_or_none()
    if row is None:
        raise Conflict("the request was given up in the meantime; send it again")
    return row


def _vault_ref(scope: str, key: str) -> str:
    return f"reply:{scope}:{key}"
