"""Puts the engine together: upstreams with their keys, prices, the cache, and what fulfils."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cache import Cache, KeyedHash
from engine.catalog import Catalog
from engine.engine import Engine
from engine.models import Models
from engine.providers import Embedder, Providers, embeddings_from_table, upstream_from_table, with_known
from engine.upstream_vectors import UpstreamVectors
from ledger.accounts import Account
from ledger.clock import Clock
from ledger.database import Database
from ledger.events import Events
from ledger.spend import Spend
from ledger.vault import Vault


@dataclass(frozen=True)
class Fulfilment:
    """What the rest of the node needs of the engine."""

    engine: Engine
    answers: Cache
    models: Models
    providers: Providers

    @property
    def ticks(self) -> tuple[tuple[float, Callable[[], Awaitable[Any]]], ...]:
        return (5, self.answers.flush), (60, self.answers.delete_ended)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.answers.close()
            await self.engine.close()


def open_engine(
    *,
    database: Database,
    clock: Clock,
    hasher: KeyedHash,
    vault: Vault,
    spend: Spend,
    events: Events,
    own_account: Callable[[], Awaitable[Account]],
    environ: Mapping[str, str],
    upstreams: Sequence[Mapping[str, Any]],
    embeddings: Mapping[str, Any],
    own_prices: Path | None,
    lease_s: float,
    first_byte_s: float,
    deadline_s: float,
) -> Fulfilment:
    """`upstreams` and `embeddings` are tables of the settings; `own_account` pays for what is embedded upstream.

    Raises InvalidInput naming what a table has wrong.
    """
    known = with_known([upstream_from_table(table) for table in upstreams], environ)
    embedder = Embedder()
    providers, catalog = Providers.from_environment(environ, known, embedder), Catalog.load(known, own_prices)
    vectors = None
    if embeddings:
        vectors = UpstreamVectors(embeddings_from_table(embeddings), environ, spend, clock, own_account)
    answers = Cache(database, clock, vault, hasher, embedder, vectors)
    engine = Engine(
        *(spend, events, vault, catalog, providers, clock),
        cache=answers,
        lease_s=lease_s,
        first_byte_s=first_byte_s,
        deadline_s=deadline_s,
    )
    return Fulfilment(engine, answers, Models(catalog, providers, known, clock), providers)
