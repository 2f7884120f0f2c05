"""`GET /api/v2/health` and the node's public keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from engine import Providers
from ledger.database import Database
from ledger.errors import Unavailable
from trust.chain import ChainView

Check = Callable[[], Awaitable[str]]


def checks(database: Database, chain: ChainView | None, providers: Providers) -> dict[str, Check]:
    """Each answers `ok`, `absent` or `down`."""

    async def database_answers() -> str:
        try:
            await database.ping()
        except Unavailable:
            return "down"
        return "ok"

    async def chain_answers() -> str:
        if chain is None:
            return "absent"
        try:
            await chain.check_chain_id()
        except Unavailable:
            return "down"
        return "ok"

    async def upstreams_there() -> str:
        return "ok" if set(providers.names) - {"offline"} else "absent"

    return {"database": database_answers, "chain": chain_answers, "upstreams": upstreams_there}


def router(version: str, checks: dict[str, Check], jwks: Callable[[], dict[str, Any]]) -> APIRouter:
    routes = APIRouter()

    @routes.get("/api/v2/health")
    async def health() -> JSONResponse:
        states = {name: await check() for name, check in checks.items()}
        serves = states["database"] == "ok" and states["chain"] != "down"
        body = {"status": "ok" if serves else "unavailable", "version": version, **states}
        return JSONResponse(body, 200 if serves else 503)

    @routes.get("/.well-known/jwks.json")
    async def keys() -> JSONResponse:
        return JSONResponse(jwks(), headers={"Cache-Control": "public, max-age=300"})

    return routes
