"""`GET /api/v2/receipts/{id}`: what a receipt has left. The id is the payer's secret, as a payment's is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.payments import PaymentsAbsent, Standings


def router(standings: Standings | None) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/receipts")

    @routes.get("/{receipt_id}")
    async def receipt(receipt_id: str) -> dict[str, Any]:
        if standings is None:
            raise PaymentsAbsent
        return (await standings.of(receipt_id)).shown()

    return routes
