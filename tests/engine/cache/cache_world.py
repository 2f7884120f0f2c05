"""A small world for cache tests: a cache over a real database and vault, questions, and answers in OpenAI's form."""

from __future__ import annotations

from typing import Any

from engine import Asked, Cache, CompletionRequest, Embedder, asked_of
from ledger.database import Database
from ledger.vault import Vault
from tests.ledger.parts import MemoryKey, SetClock

EMBEDDER = Embedder()
COST = 2_500_000


class World:
    """One node's cache; `another()` is a second process on the same database with the same keys."""

    def __init__(self, database: Database, clock: SetClock | None = None, key: MemoryKey | None = None) -> None:
        self.database = database
        self.clock = clock or SetClock()
        self.key = key or MemoryKey()
        self.cache = Cache(database, self.clock, Vault(database, self.clock, self.key), self.key, EMBEDDER)

    def another(self) -> World:
        return World(self.database, self.clock, self.key)

    async def keep(self, asked: Asked, text: str = "Paris.", **changed: Any) -> bool:
        how = {"provider": "mock", "model": "mock/m1", "cost_usd_nanos": COST, "ttl_s": None, **changed}
        return await self.cache.keep(asked, answer(text), **how)

    async def text(self, asked: Asked) -> str | None:
        """What the cache answers, None for a miss."""
        hit = await self.cache.find(asked)
        return None if hit is None else hit.body["choices"][0]["message"]["content"]


def question(
    words: str = "What is the capital of France?",
    *,
    tenant: str = "acme",
    key: str = "key_1",
    user: str | None = None,
    model_class: str = "mock/m1",
    privacy_mode: str = "metadata_only",
    system: str | None = None,
    max_tokens: int | None = None,
    **options: Any,
) -> Asked:
    messages = [{"role": "user", "content": words}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return asked_as(
        messages, tenant, key, user, model_class, privacy_mode, CompletionRequest(messages, None, max_tokens, options)
    )


def asked_as(
    messages: list[dict[str, Any]],
    tenant: str = "acme",
    key: str = "key_1",
    user: str | None = None,
    model_class: str = "mock/m1",
    privacy_mode: str = "metadata_only",
    request: CompletionRequest | None = None,
) -> Asked:
    made = asked_of(
        request or CompletionRequest(messages),
        tenant_id=tenant,
        key_id=key,
        user=user,
        model_class=model_class,
        privacy_mode=privacy_mode,
    )
    assert made is not None
    return made


def answer(text: str = "Paris.", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish_reason}], "usage": {"total_tokens": 9}}
