"""The cache's door: find an answer, keep one, and what a tenant may see and set of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from engine.cache import rows
from engine.cache.agreement import agree, mark, plain
from engine.cache.asked import MOST_ANSWER_BYTES, Asked, may_be_kept
from engine.cache.nearest import Family, Nearest, packed
from engine.cache.rows import Found, Keys
from engine.cache.settings import CacheSettings
from engine.cache.tally import Tally
from ledger.clock import SECOND_US, Clock, rfc3339
from ledger.database import AsyncSession, Database
from ledger.money import usd_fields
from ledger.vault import Vault, VaultItem

if TYPE_CHECKING:
    import numpy

_log = logging.getLogger(__name__)
_ANSWERS = "cache-answers"
_MOST_CANDIDATES = 8
_MOST_LISTED = 100


class Embeds(Protocol):
    """Texts to rows of unit length, the same for the same text in every process."""

    def embed(self, texts: Sequence[str]) -> numpy.ndarray: ...


class KeyedHash(Protocol):
    """A hash under a secret of the node, so that a stolen database does not let questions be tried offline."""

    def keyed_hash(self, data: bytes) -> str: ...


@dataclass(frozen=True)
class Hit:
    """A kept answer. `similarity` is None where the very same was asked before."""

    body: dict[str, Any]
    """as it was handed to `keep`"""
    provider: str
    model: str
    saved_usd_nanos: int
    """what the answer cost when it was made"""
    created_at_us: int
    similarity: float | None


class Cache:
    """Kept answers of all tenants. Whatever breaks here is a miss, logged by its class, and nobody's error."""

    def __init__(self, database: Database, clock: Clock, vault: Vault, hasher: KeyedHash, embedder: Embeds) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._hasher = hasher
        self._embedder = embedder
        self._nearest = Nearest()
        self._tally = Tally(database, clock)

    async def find(self, asked: Asked) -> Hit | None:
        """The answer to the same question, else to one that surely means the same; None is a miss."""
        try:
            return await self._find(asked)
        except Exception as error:
            _log.warning("the cache could not be asked: %s", type(error).__name__)
            self._tally.missed(asked.tenant_id)
            return None

    async def keep(
        self, asked: Asked, body: dict[str, Any], *, provider: str, model: str, cost_usd_nanos: int, ttl_s: int | None
    ) -> bool:
        """Keep an answer in OpenAI's form (at least its `choices`), if it is one to be kept; whether it was.

        `ttl_s` is the request's own, None the tenant's setting; nothing is kept for more than a day.
        """
        if not may_be_kept(body) or (ttl_s is not None and ttl_s < 1):
            return False
        try:
            content = orjson.dumps({"words": asked.words, "body": body})
            if len(content) > MOST_ANSWER_BYTES:
                return False
            vector = await self._vector(asked.words) if asked.words else None
            return await self._keep(asked, content, vector, (provider, model, cost_usd_nanos), ttl_s)
        except Exception as error:
            _log.warning("an answer could not be kept: %s", type(error).__name__)
            return False

    async def stats(self, tenant_id: str) -> dict[str, Any]:
        """`{hits, misses, hit_rate, saved_usd, saved_usd_exact, entries}`, with what this process has just counted."""
        await self._tally.flush()
        async with self._database.read() as session:
            hits, misses, saved, living = await rows.sums(session, tenant_id, self._clock.now_us())
        rate = hits / (hits + misses) if hits + misses else 0.0
        return {"hits": hits, "misses": misses, "hit_rate": rate, **usd_fields("saved_usd", saved), "entries": living}

    async def settings(self, tenant_id: str) -> CacheSettings:
        async with self._database.read() as session:
            return await rows.settings_of(session, tenant_id)

    async def configure(self, tenant_id: str, body: Mapping[str, Any]) -> CacheSettings:
        """Change the settings that the body names; they hold for every process at once. Raises InvalidInput."""
        async with self._database.write() as session:
            settings = (await rows.settings_of(session, tenant_id)).changed(body)
            await rows.set_settings(session, tenant_id, settings)
        return settings

    async def entries(self, tenant_id: str, before: int | None = None) -> dict[str, Any]:
        """`{object:"list", data, next_cursor}`: what is known of each living entry, newest first; never its words."""
        last = 2**62 if before is None else before
        async with self._database.read() as session:
            listed = await rows.entries(session, tenant_id, self._clock.now_us(), last, _MOST_LISTED)
        cursor = str(listed[-1][0]) if len(listed) == _MOST_LISTED else None
        return {"object": "list", "data": [_shown(row) for row in listed], "next_cursor": cursor}

    async def invalidate(self, tenant_id: str, *, model: str | None = None, entry: int | None = None) -> int:
        """Delete the tenant's entries, or those of one model, or one; the number deleted. No process serves them."""
        which, values = "true", dict[str, Any]()
        if model is not None:
            which, values = f"{which} AND model = :model", {**values, "model": model}
        if entry is not None:
            which, values = f"{which} AND seq = :entry", {**values, "entry": entry}
        return await self._remove_all(tenant_id, f"{which} LIMIT 1000", values)

    async def delete_ended(self) -> int:
        """The deletion job; the number removed."""
        now_us = self._clock.now_us()
        async with self._database.read() as session:
            tenants = await rows.tenants_with_ended(session, now_us)
        removed = 0
        for tenant_id in tenants:
            removed += await self._remove_all(tenant_id, rows.ENDED, {"now_us": now_us})
        return removed

    async def flush(self) -> None:
        """Write what was counted; called on a tick and at the end."""
        await self._tally.flush()

    async def _find(self, asked: Asked) -> Hit | None:
        keys, now_us = self._keys(asked), self._clock.now_us()
        async with self._database.read() as session:
            look = await rows.look(session, keys, now_us)
            if look is not None and (not look.enabled or look.scope is None):
                return None
            if look is not None and look.same is not None:
                _, body = await self._opened(session, asked.tenant_id, look.same.seq)
                return self._hit(asked, look.same, body, None)
        hit = await self._find_near(asked, keys, look, now_us) if look is not None else None
        if hit is None:
            self._tally.missed(asked.tenant_id)
        return hit

    async def _find_near(self, asked: Asked, keys: Keys, look: rows.Look, now_us: int) -> Hit | None:
        if asked.words is None or look.newest_seq is None or look.scope is None:
            return None
        family = (asked.tenant_id, look.scope, keys.family_hash)
        await self._catch_up(family, look.newest_seq)
        vector = await self._vector(asked.words)
        near = self._nearest.candidates(family, mark(asked.words), vector, look.similarity, now_us, _MOST_CANDIDATES)
        for seq, similarity in near:
            async with self._database.read() as session:
                found = await rows.one(session, keys, look.scope, seq, now_us)
                if found is None:
                    self._nearest.forget(family, seq)
                    continue
                words, body = await self._opened(session, asked.tenant_id, seq)
            if agree(asked.words, words):
                return self._hit(asked, found, body, similarity)
        return None

    def _hit(self, asked: Asked, found: Found, body: dict[str, Any], similarity: float | None) -> Hit:
        self._tally.hit(asked.tenant_id, found.seq, found.saved_usd_nanos)
        return Hit(body, found.provider, found.model, found.saved_usd_nanos, found.created_at_us, similarity)

    async def _catch_up(self, family: Family, newest_seq: int) -> None:
        seen_seq = self._nearest.seen_seq(family)
        if newest_seq <= seen_seq:
            return
        tenant_id, scope, family_hash = family
        async with self._database.read() as session:
            items = await self._vault.range(session, tenant_id, _vectors(scope, family_hash), seen_seq)
        self._nearest.add(family, items, self._clock.now_us())

    async def _keep(
        self,
        asked: Asked,
        content: bytes,
        vector: numpy.ndarray | None,
        made: tuple[str, str, int],
        ttl_s: int | None,
    ) -> bool:
        keys, now_us = self._keys(asked), self._clock.now_us()
        provider, model, cost_usd_nanos = made
        async with self._database.write() as session:
            new = await rows.number(session, keys)
            if not new.settings.enabled or new.scope is None:
                return False
            ends_at_us = now_us + new.settings.ttl_of(ttl_s) * SECOND_US
            same = {"scope": new.scope, "asked_hash": keys.asked_hash}
            await self._remove(session, keys.tenant_id, rows.SAME_QUESTION, same)
            entry = {
                "seq": new.seq,
                "scope": new.scope,
                "provider": provider,
                "model": model,
                "answer_bytes": len(content),
                "saved_usd_nanos": cost_usd_nanos,
                "now_us": now_us,
                "ends_at_us": ends_at_us,
            }
            await rows.insert(session, keys, entry)
            items = [VaultItem(_ANSWERS, new.seq, content, ends_at_us)]
            if vector is not None and asked.words:
                place = _vectors(new.scope, keys.family_hash)
                items.append(VaultItem(place, new.seq, packed(mark(asked.words), ends_at_us, vector), ends_at_us))
            await self._vault.put_all(session, keys.tenant_id, items)
            await self._remove(session, keys.tenant_id, rows.BEYOND, {"max_entries": new.settings.max_entries})
        return True

    async def _remove_all(self, tenant_id: str, which: str, values: dict[str, Any]) -> int:
        removed = 0
        while True:
            async with self._database.write() as session:
                batch = await self._remove(session, tenant_id, which, values)
            removed += batch
            if not batch:
                return removed

    async def _remove(self, session: AsyncSession, tenant_id: str, which: str, values: dict[str, Any]) -> int:
        gone = await rows.remove(session, tenant_id, which, **values)
        places = [(_ANSWERS, seq) for _, _, seq in gone]
        places += [(_vectors(scope, family_hash), seq) for scope, family_hash, seq in gone]
        await self._vault.delete(session, tenant_id, places)
        return len(gone)

    async def _opened(self, session: AsyncSession, tenant_id: str, seq: int) -> tuple[str, dict[str, Any]]:
        content = await self._vault.get(session, tenant_id, _ANSWERS, seq)
        assert content is not None, "a living entry has its answer in the vault"
        kept = orjson.loads(content)
        return kept["words"], kept["body"]

    async def _vector(self, words: str) -> numpy.ndarray:
        vectors = await asyncio.to_thread(self._embedder.embed, [plain(words)])
        vector: numpy.ndarray = vectors[0]
        return vector

    def _keys(self, asked: Asked) -> Keys:
        hashed = self._hasher.keyed_hash
        user = f"{asked.key_id}\n{asked.user}".encode()
        return Keys(
            tenant_id=asked.tenant_id,
            key=asked.key_id,
            user=hashed(b"cache-user:" + user) if asked.user else None,
            asked_hash=hashed(b"cache-asked:" + asked.exact),
            family_hash=hashed(b"cache-family:" + asked.family),
        )


def _vectors(scope: str, family_hash: str) -> str:
    return f"cache-vectors:{scope}:{family_hash}"


def _shown(row: Any) -> dict[str, Any]:
    seq, provider, model, answer_bytes, saved_usd_nanos, created_at_us, used_at_us, ends_at_us = row
    return {
        "id": str(seq),
        "provider": provider,
        "model": model,
        "answer_bytes": answer_bytes,
        **usd_fields("saved_per_hit_usd", saved_usd_nanos),
        "created_at": rfc3339(created_at_us),
        "used_at": rfc3339(used_at_us),
        "ends_at": rfc3339(ends_at_us),
    }
