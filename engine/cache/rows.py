"""The cache's reads and writes, in the caller's session. Whoever changes a tenant's entries locks its row first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from engine.cache.settings import CacheSettings
from ledger.database import AsyncSession

_DEFAULTS = """
INSERT INTO cache_tenants
(tenant_id, enabled, similarity, ttl_s, partition_by, max_entries, last_seq, hits, misses, saved_usd_nanos)
VALUES (:tenant_id, :enabled, :similarity, :ttl_s, :partition, :max_entries, 0, 0, 0, 0)
ON CONFLICT (tenant_id) DO NOTHING
"""
_SET = """
UPDATE cache_tenants SET enabled = :enabled, similarity = :similarity, ttl_s = :ttl_s, partition_by = :partition,
max_entries = :max_entries WHERE tenant_id = :tenant_id
"""
_LOCK = "UPDATE cache_tenants SET last_seq = last_seq WHERE tenant_id = :tenant_id"
_SETTINGS = (
    "SELECT enabled, similarity, ttl_s, partition_by, max_entries FROM cache_tenants WHERE tenant_id = :tenant_id"
)
_SUMS = """
SELECT hits, misses, saved_usd_nanos,
(SELECT count(*) FROM cache_entries e WHERE e.tenant_id = t.tenant_id AND e.ends_at_us > :now_us)
FROM cache_tenants t WHERE tenant_id = :tenant_id
"""
_ADD_SUMS = """
UPDATE cache_tenants SET hits = hits + :hits, misses = misses + :misses,
saved_usd_nanos = saved_usd_nanos + :saved_usd_nanos WHERE tenant_id = :tenant_id
"""
_USED = """
UPDATE cache_entries SET used_at_us = :used_at_us
WHERE tenant_id = :tenant_id AND seq = :seq AND used_at_us < :used_at_us
"""
_SCOPE = "CASE partition_by WHEN 'tenant' THEN '' WHEN 'key' THEN CAST(:key AS VARCHAR) ELSE CAST(:user AS VARCHAR) END"
_LOOK = f"""
SELECT t.enabled, t.similarity, t.scope, e.seq, e.provider, e.model, e.saved_usd_nanos, e.created_at_us,
(SELECT max(n.seq) FROM cache_entries n
 WHERE n.tenant_id = t.tenant_id AND n.scope = t.scope AND n.family_hash = :family_hash)
FROM (SELECT tenant_id, enabled, similarity, {_SCOPE} AS scope FROM cache_tenants WHERE tenant_id = :tenant_id) t
LEFT JOIN cache_entries e ON e.tenant_id = t.tenant_id AND e.scope = t.scope AND e.asked_hash = :asked_hash
AND e.ends_at_us > :now_us
"""
_ONE = """
SELECT seq, provider, model, saved_usd_nanos, created_at_us FROM cache_entries
WHERE tenant_id = :tenant_id AND scope = :scope AND family_hash = :family_hash AND seq = :seq AND ends_at_us > :now_us
"""
_NUMBER = f"""
UPDATE cache_tenants SET last_seq = last_seq + 1 WHERE tenant_id = :tenant_id
RETURNING last_seq, enabled, similarity, ttl_s, partition_by, max_entries, {_SCOPE}
"""
_INSERT = """
INSERT INTO cache_entries (tenant_id, seq, scope, asked_hash, family_hash, provider, model, answer_bytes,
saved_usd_nanos, created_at_us, used_at_us, ends_at_us) VALUES (:tenant_id, :seq, :scope, :asked_hash, :family_hash,
:provider, :model, :answer_bytes, :saved_usd_nanos, :now_us, :now_us, :ends_at_us)
"""
_REMOVE = """
DELETE FROM cache_entries WHERE tenant_id = :tenant_id AND seq IN
(SELECT seq FROM cache_entries WHERE tenant_id = :tenant_id AND {which}) RETURNING scope, family_hash, seq
"""
_ENTRIES = """
SELECT seq, provider, model, answer_bytes, saved_usd_nanos, created_at_us, used_at_us, ends_at_us FROM cache_entries
WHERE tenant_id = :tenant_id AND ends_at_us > :now_us AND seq < :before ORDER BY seq DESC LIMIT :most
"""
_WITH_ENDED = "SELECT DISTINCT tenant_id FROM cache_entries WHERE ends_at_us <= :now_us"

SAME_QUESTION = "scope = :scope AND asked_hash = :asked_hash"
BEYOND = "true ORDER BY used_at_us DESC, seq DESC LIMIT 1000 OFFSET :max_entries"
ENDED = "ends_at_us <= :now_us LIMIT 1000"
_NAMED = {"model": "model = :model", "entry": "seq = :entry"}


@dataclass(frozen=True)
class Keys:
    """A question as rows know it: every value keyed by the node. `user` is None where nothing may be shared by user."""

    tenant_id: str
    key: str
    user: str | None
    asked_hash: str
    family_hash: str


@dataclass(frozen=True)
class Found:
    """What the books say of an entry that lives."""

    seq: int
    provider: str
    model: str
    saved_usd_nanos: int
    created_at_us: int


@dataclass(frozen=True)
class Look:
    """The one read of a find: the settings that matter, the same question's entry, and the newest of its family."""

    enabled: bool
    similarity: float
    scope: str | None
    same: Found | None
    newest_seq: int | None


@dataclass(frozen=True)
class Numbered:
    """A new entry's number, with the settings and the scope that it is kept under."""

    seq: int
    settings: CacheSettings
    scope: str | None


async def look(session: AsyncSession, keys: Keys, now_us: int) -> Look | None:
    row = (await _run(session, _LOOK, {**vars(keys), "now_us": now_us})).first()
    if row is None:
        return None
    enabled, similarity, scope, seq, *rest, newest = row
    return Look(bool(enabled), similarity, scope, None if seq is None else Found(seq, *rest), newest)


async def one(session: AsyncSession, keys: Keys, scope: str, seq: int, now_us: int) -> Found | None:
    row = (await _run(session, _ONE, {**vars(keys), "scope": scope, "seq": seq, "now_us": now_us})).first()
    return None if row is None else Found(*row)


async def number(session: AsyncSession, keys: Keys) -> Numbered:
    """Take the next number; from here to the commit nobody else adds to this tenant's entries."""
    await _run(session, _DEFAULTS, {"tenant_id": keys.tenant_id, **CacheSettings().as_dict()})
    seq, *settings, scope = (await _run(session, _NUMBER, vars(keys))).one()
    return Numbered(seq, _settings(settings), scope)


async def insert(session: AsyncSession, keys: Keys, values: dict[str, Any]) -> None:
    await _run(session, _INSERT, {**vars(keys), **values})


async def lock(session: AsyncSession, tenant_id: str) -> None:
    """Be the only one who changes this tenant's entries, until the commit: rows of many are never locked crosswise."""
    await _run(session, _LOCK, {"tenant_id": tenant_id})


async def remove(session: AsyncSession, tenant_id: str, which: str, **values: Any) -> list[tuple[str, str, int]]:
    """Remove the tenant's entries for which a condition of ours holds: the (scope, family hash, seq) of each."""
    gone = await _run(session, _REMOVE.format(which=which), {"tenant_id": tenant_id, **values})
    return [(scope, family, seq) for scope, family, seq in gone.all()]


def those_named(values: Iterable[str]) -> str:
    """The condition for the entries of a `model`, or for one `entry`, or for all."""
    return " AND ".join(["true", *(_NAMED[name] for name in values)]) + " LIMIT 1000"


async def settings_of(session: AsyncSession, tenant_id: str) -> CacheSettings:
    row = (await _run(session, _SETTINGS, {"tenant_id": tenant_id})).first()
    return CacheSettings() if row is None else _settings(row)


async def set_settings(session: AsyncSession, tenant_id: str, settings: CacheSettings) -> None:
    values = {"tenant_id": tenant_id, **settings.as_dict()}
    await _run(session, _DEFAULTS, values)
    await _run(session, _SET, values)


async def sums(session: AsyncSession, tenant_id: str, now_us: int) -> tuple[int, int, int, int]:
    """Hits, misses, saved nanos, and how many entries live."""
    row = (await _run(session, _SUMS, {"tenant_id": tenant_id, "now_us": now_us})).first()
    return (0, 0, 0, 0) if row is None else (row[0], row[1], row[2], row[3])


async def add_sums(session: AsyncSession, tenants: Sequence[dict[str, Any]], used: Sequence[dict[str, Any]]) -> None:
    """In the order of tenants, as every writer of many rows locks them."""
    defaults = CacheSettings().as_dict()
    for values in tenants:
        await _run(session, _DEFAULTS, {"tenant_id": values["tenant_id"], **defaults})
        await _run(session, _ADD_SUMS, values)
    if used:
        await (await session.connection()).execute(text(_USED), used)


async def entries(session: AsyncSession, tenant_id: str, now_us: int, before: int | None, most: int) -> list[Any]:
    values = {"tenant_id": tenant_id, "now_us": now_us, "before": 2**62 if before is None else before, "most": most}
    return list((await _run(session, _ENTRIES, values)).all())


async def tenants_with_ended(session: AsyncSession, now_us: int) -> list[str]:
    return [row[0] for row in (await _run(session, _WITH_ENDED, {"now_us": now_us})).all()]


def _settings(row: Sequence[Any]) -> CacheSettings:
    enabled, similarity, ttl_s, partition, max_entries = row
    return CacheSettings(bool(enabled), similarity, ttl_s, partition, max_entries)


async def _run(session: AsyncSession, statement: str, values: dict[str, Any]) -> Any:
    return await (await session.connection()).execute(text(statement), values)
