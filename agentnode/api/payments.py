"""`/api/v2/payments`: all settlements for the operator; one, for who has its id, which is the payer's secret."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from agentnode.api.auth import Needs
from agentnode.payments import Overview, PaymentsAbsent, TollGate, wanted_of
from ledger.accounts import Caller


def router(gate: TollGate | None, overview: Overview, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/payments")
    admin = needs("admin")

    @routes.get("")
    async def listed(request: Request, caller: Caller = admin) -> dict[str, Any]:
        caller.require_operator()
        return await overview.page(wanted_of(request.query_params))

    @routes.get("/{payment_id}")
    async def payment(payment_id: str) -> dict[str, Any]:
        if gate is None:
            raise PaymentsAbsent
        return await gate.status(payment_id)

    return routes
