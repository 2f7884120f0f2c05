"""The cache's door: find an answer, keep one, and what a tenant may see and set of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from engine.cache import rows
from engine.cache.agreement import disagreement
from engine.cache.asked import Asked, may_be_kept
from engine.cache.nearest import Nearest
from engine.cache.reading import Reading, plain, read
from engine.cache.rows import Keys
from engine.cache.settings import CacheSettings
from engine.cache.store import Kept, NewAnswer, Store
from engine.cache.tally import Tally
from engine.cache.vectors import Embeds, EmbedsHere, Offline
from engine.catalog import Model
from ledger.clock import Clock, rfc3339
from ledger.database import Database
from ledger.money import usd_fields
from ledger.vault import Vault

if TYPE_CHECKING:
    import numpy

_log = logging.getLogger(__name__)
_MOST_CANDIDATES = 8
_MOST_LISTED = 100


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
    """Kept answers of all tenants. Whatever breaks here is a miss, logged by its class, and nobody's error.

    `questions` makes the vectors of questions, the offline `embedder` if it is None. Single words are always compared
    by the embedder, whose nearness of words is measured.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        hasher: KeyedHash,
        embedder: EmbedsHere,
        questions: Embeds | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._embedder = embedder
        self._questions = questions or Offline(embedder)
        self._store = Store(database, clock, vault)
        self._nearest = Nearest()
        self._tally = Tally(database, clock)
        self._vectors: WeakKeyDictionary[Asked, numpy.ndarray | None] = WeakKeyDictionary()
        """Of questions that are being asked, so that keeping an answer embeds nothing again."""

    @property
    def shows_to(self) -> Model | None:
        """Which model is shown the questions that are compared by their words; None where they stay here."""
        return self._questions.model

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
            vector = await self._vector(asked)
            near = (read(asked.words).mark, vector) if asked.words and vector is not None else None
            answer = NewAnswer(asked.words, body, provider, model, cost_usd_nanos, near)
            return await self._store.put(self._keys(asked), answer, ttl_s)
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
        """As they hold here: with the similarity that the embeddings ask for, where the tenant's is not over it."""
        async with self._database.read() as session:
            return self._holding(await rows.settings_of(session, tenant_id))

    async def configure(self, tenant_id: str, body: Mapping[str, Any]) -> CacheSettings:
        """Change the settings that the body names; they hold for every process at once. Raises InvalidInput."""
        async with self._database.write() as session:
            settings = (await rows.settings_of(session, tenant_id)).changed(body, self._questions.similarity)
            await rows.set_settings(session, tenant_id, settings)
        return self._holding(settings)

    async def entries(self, tenant_id: str, before: int | None = None) -> dict[str, Any]:
        """`{object:"list", data, next_cursor}`: what is known of each living entry, newest first; never its words."""
        async with self._database.read() as session:
            listed = await rows.entries(session, tenant_id, self._clock.now_us(), before, _MOST_LISTED)
        cursor = str(listed[-1][0]) if len(listed) == _MOST_LISTED else None
        return {"object": "list", "data": [_shown(row) for row in listed], "next_cursor": cursor}

    async def invalidate(self, tenant_id: str, *, model: str | None = None, entry: int | None = None) -> int:
        """Delete the tenant's entries, or those of one model, or one; the number deleted. No process serves them."""
        values = {"model": model, "entry": entry}
        named = {name: value for name, value in values.items() if value is not None}
        return await self._store.remove(tenant_id, rows.those_named(named), named)

    async def delete_ended(self) -> int:
        """The deletion job; the number removed."""
        return await self._store.remove_ended()

    async def flush(self) -> None:
        """Write what was counted; called on a tick."""
        await self._tally.flush()

    async def close(self) -> None:
        await self._questions.close()
        await self._tally.flush()

    async def _find(self, asked: Asked) -> Hit | None:
        keys = self._keys(asked)
        look, same = await self._store.look(keys)
        if look is not None and (not look.enabled or look.scope is None):
            return None
        if same is not None:
            return self._hit(asked, same, None)
        hit = await self._find_near(asked, keys, look) if look is not None else None
        if hit is None:
            self._tally.missed(asked.tenant_id)
        return hit

    async def _find_near(self, asked: Asked, keys: Keys, look: rows.Look) -> Hit | None:
        if asked.words is None or look.newest_seq is None or look.scope is None:
            return None
        family = (asked.tenant_id, look.scope, keys.family_hash)
        seen_seq = self._nearest.seen_seq(family)
        if look.newest_seq > seen_seq:
            self._nearest.add(family, await self._store.questions(family, seen_seq), self._clock.now_us())
        vector = await self._vector(asked)
        if vector is None:
            return None
        question, similarity = read(asked.words), max(look.similarity, self._questions.similarity)
        near = self._nearest.candidates(family, question.mark, vector, similarity, _MOST_CANDIDATES)
        for seq, similarity in near:
            kept = await self._store.entry(keys, look.scope, seq)
            if kept is None:
                self._nearest.forget(family, seq)
            elif kept.words and await self._agree(question, kept.words):
                return self._hit(asked, kept, similarity)
        return None

    def _hit(self, asked: Asked, kept: Kept, similarity: float | None) -> Hit:
        found = kept.found
        self._tally.hit(asked.tenant_id, found.seq, found.saved_usd_nanos)
        return Hit(kept.body, found.provider, found.model, found.saved_usd_nanos, found.created_at_us, similarity)

    def _holding(self, settings: CacheSettings) -> CacheSettings:
        return replace(settings, similarity=max(settings.similarity, self._questions.similarity))

    async def _vector(self, asked: Asked) -> numpy.ndarray | None:
        if asked.words is None:
            return None
        if asked not in self._vectors:
            self._vectors[asked] = await self._questions.vector(plain(asked.words))
        return self._vectors[asked]

    async def _agree(self, question: Reading, words: str) -> bool:
        # In a thread: the first comparison of two words may load the model.
        return await asyncio.to_thread(disagreement, question, read(words), self._nearness) is None

    def _nearness(self, one: str, other: str) -> float:
        first, second = self._embedder.embed([one, other])
        return float(first @ second)

    def _keys(self, asked: Asked) -> Keys:
        hashed = self._hasher.keyed_hash
        user = f"{asked.key_id}\n{asked.user}".encode()
        return Keys(
            tenant_id=asked.tenant_id,
            key=asked.key_id,
            user=hashed(b"cache-user:" + user) if asked.user else None,
            asked_hash=hashed(b"cache-asked:" + asked.exact),
            family_hash=hashed(b"cache-family:" + self._questions.space.encode() + b"\n" + asked.family),
        )


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
