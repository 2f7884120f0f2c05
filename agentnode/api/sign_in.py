"""`GET /api/a2a/sign-in`: a new challenge for a wallet that signs in over A2A, where no 402 brings one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from agentnode.payments import PaymentsAbsent
from agentnode.payments.assembly import Payments


def router(paid: Payments | None, origin: str) -> APIRouter:
    routes = APIRouter()

    @routes.get("/api/a2a/sign-in")
    async def challenge(response: Response) -> dict[str, Any]:
        if paid is None:
            raise PaymentsAbsent
        response.headers["Cache-Control"] = "no-store"
        return {"extensions": paid.sign_ins.declared(f"{origin}/api/a2a")}

    return routes
