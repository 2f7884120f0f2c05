"""`GET /api/v2/payments/{id}`: how far a settlement has come. The id is the payer's secret, as a task's is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.payments import PaymentsAbsent, TollGate


def router(gate: TollGate | None) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/payments")

    @routes.get("/{payment_id}")
    async def payment(payment_id: str) -> dict[str, Any]:
        if gate is None:
            raise PaymentsAbsent
        return await gate.status(payment_id)

    return routes
