"""`/api/v2/cache`: what the tenant's cache holds and has saved, its settings, and forgetting (docs/cache.md)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from engine import Cache
from ledger.accounts import Caller
from ledger.errors import InvalidInput


def router(cache: Cache, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/cache")
    reads, changes = needs("chat"), needs("admin")

    @routes.get("/stats")
    async def stats(caller: Caller = reads) -> dict[str, Any]:
        return await cache.stats(caller.tenant_id)

    @routes.get("/entries")
    async def entries(cursor: str | None = None, caller: Caller = reads) -> dict[str, Any]:
        return await cache.entries(caller.tenant_id, None if cursor is None else _number("cursor", cursor))

    @routes.post("/invalidate")
    async def invalidate(body: dict[str, Any] | None = None, caller: Caller = changes) -> dict[str, Any]:
        named = dict(body or {})
        model, entry = named.pop("model", None), named.pop("id", None)
        for name in named:
            raise InvalidInput(name, "is not known here: name a model, an id, or nothing for all entries")
        if model is not None and not (isinstance(model, str) and model.isprintable()):
            raise InvalidInput("model", "must be the id of a model")
        number = None if entry is None else _number("id", entry)
        return {"invalidated": await cache.invalidate(caller.tenant_id, model=model, entry=number)}

    @routes.put("/config")
    async def configure(body: JsonBody, caller: Caller = changes) -> dict[str, Any]:
        return (await cache.configure(caller.tenant_id, body)).as_dict()

    return routes


def _number(name: str, value: Any) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidInput(name, "must be as an earlier answer gave it")
    return int(value)
