"""`GET /api/v2/health` and the node's public keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

Check = Callable[[], Awaitable[str]]


def router(version: str, checks: dict[str, Check], jwks: Callable[[], dict[str, Any]]) -> APIRouter:
    """`checks` answer `ok`, `absent` or `down` for `database`, `chain` and `upstreams`."""
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
