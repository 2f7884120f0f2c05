"""Kept answers in the database and the vault, row and content in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from engine.cache import rows
from engine.cache.nearest import Family, packed
from engine.cache.rows import Found, Keys
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.vault import Vault, VaultItem

if TYPE_CHECKING:
    import numpy

MOST_ANSWER_BYTES = 65_536
_ANSWERS = "cache-answers"


@dataclass(frozen=True)
class Kept:
    """An entry with its content: the question's last words, and the answer's body."""

    found: Found
    words: str | None
    body: dict[str, Any]


@dataclass(frozen=True)
class NewAnswer:
    """What is to be kept, and the mark and vector of its question where it may be found by nearness."""

    words: str | None
    body: dict[str, Any]
    provider: str
    model: str
    cost_usd_nanos: int
    near: tuple[int, numpy.ndarray] | None


class Store:
    """Entries of all tenants. What has ended is not given out, deleted yet or not."""

    def __init__(self, database: Database, clock: Clock, vault: Vault) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault

    async def look(self, keys: Keys) -> tuple[rows.Look | None, Kept | None]:
        """The settings that matter to this question, and the very same question's entry."""
        async with self._database.read() as session:
            look = await rows.look(session, keys, self._clock.now_us())
            if look is None or not look.enabled or look.same is None:
                return look, None
            return look, await self._opened(session, keys, look.same)

    async def entry(self, keys: Keys, scope: str, seq: int) -> Kept | None:
        """An entry of the question's family, None where it is gone."""
        async with self._database.read() as session:
            found = await rows.one(session, keys, scope, seq, self._clock.now_us())
            return None if found is None else await self._opened(session, keys, found)

    async def questions(self, family: Family, after_seq: int) -> list[tuple[int, bytes]]:
        """What `packed` made of the family's questions, those behind `after_seq` in their order."""
        tenant_id, scope, family_hash = family
        async with self._database.read() as session:
            return await self._vault.range(session, tenant_id, _questions(scope, family_hash), after_seq)

    async def put(self, keys: Keys, answer: NewAnswer, ttl_s: int | None) -> bool:
        """Keep it in place of the same question's, and let the least recently used ones go; False if it is not kept."""
        content = orjson.dumps({"words": answer.words, "body": answer.body})
        if len(content) > MOST_ANSWER_BYTES:
            return False
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            new = await rows.number(session, keys)
            if not new.settings.enabled or new.scope is None:
                return False
            same = {"scope": new.scope, "asked_hash": keys.asked_hash}
            await self._remove(session, keys.tenant_id, rows.SAME_QUESTION, same)
            ends_at_us = now_us + new.settings.ttl_of(ttl_s) * SECOND_US
            entry = {
                "seq": new.seq,
                "scope": new.scope,
                "provider": answer.provider,
                "model": answer.model,
                "answer_bytes": len(content),
                "saved_usd_nanos": answer.cost_usd_nanos,
                "now_us": now_us,
                "ends_at_us": ends_at_us,
            }
            await rows.insert(session, keys, entry)
            items = [VaultItem(_ANSWERS, new.seq, content, ends_at_us)]
            if answer.near is not None:
                mark, vector = answer.near
                place = _questions(new.scope, keys.family_hash)
                items.append(VaultItem(place, new.seq, packed(mark, ends_at_us, vector), ends_at_us))
            await self._vault.put_all(session, keys.tenant_id, items)
            await self._remove(session, keys.tenant_id, rows.BEYOND, {"max_entries": new.settings.max_entries})
        return True

    async def remove(self, tenant_id: str, which: str, values: dict[str, Any]) -> int:
        """Remove the entries for which one of `rows`' conditions holds, a batch at a time; their number."""
        removed = 0
        while True:
            async with self._database.write() as session:
                await rows.lock(session, tenant_id)
                batch = await self._remove(session, tenant_id, which, values)
            removed += batch
            if not batch:
                return removed

    async def remove_ended(self) -> int:
        now_us = self._clock.now_us()
        async with self._database.read() as session:
            tenants = await rows.tenants_with_ended(session, now_us)
        return sum([await self.remove(tenant_id, rows.ENDED, {"now_us": now_us}) for tenant_id in tenants])

    async def _remove(self, session: AsyncSession, tenant_id: str, which: str, values: dict[str, Any]) -> int:
        gone = await rows.remove(session, tenant_id, which, **values)
        places = [(_ANSWERS, seq) for _, _, seq in gone]
        places += [(_questions(scope, family_hash), seq) for scope, family_hash, seq in gone]
        await self._vault.delete(session, tenant_id, places)
        return len(gone)

    async def _opened(self, session: AsyncSession, keys: Keys, found: Found) -> Kept | None:
        """None where it ended, or was removed by another, since its row was read."""
        content = await self._vault.get(session, keys.tenant_id, _ANSWERS, found.seq)
        if content is None:
            return None
        kept = orjson.loads(content)
        return Kept(found, kept["words"], kept["body"])


def _questions(scope: str, family_hash: str) -> str:
    return f"cache-questions:{scope}:{family_hash}"
