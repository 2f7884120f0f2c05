"""`GET /api/a2a/sign-in`: a new challenge for a wallet that signs in over A2A, where no 402 brings one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from agentnode.payments import PaymentsAbsent, SignIns


def router(sign_ins: SignIns | None, uri: str) -> APIRouter:
    """`uri` is what is signed in to."""
    routes = APIRouter()

    @routes.get("/api/a2a/sign-in")
    async def challenge(response: Response) -> dict[str, Any]:
        if sign_ins is None:
            raise PaymentsAbsent
        response.headers["Cache-Control"] = "no-store"
        return {"extensions": sign_ins.declared(uri)}

    return routes
