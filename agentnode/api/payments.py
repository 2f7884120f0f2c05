"""`/api/v2/payments`: all settlements for the operator; one, for who has its id, the payer's secret; and its refund."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from agentnode.api.auth import JsonBody, Needs
from agentnode.payments import Overview, PaymentsAbsent, wanted_of
from agentnode.payments.assembly import Payments
from ledger.accounts import Caller
from ledger.errors import InvalidInput


def router(
    paid: Payments | None,
    origin: str,
    overview: Overview,
    needs: Needs,
    caller_of: Callable[[str | None], Awaitable[Caller]],
) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/payments")
    admin = needs("admin")

    @routes.get("")
    async def listed(request: Request, caller: Caller = admin) -> dict[str, Any]:
        caller.require_operator()
        return await overview.page(wanted_of(request.query_params))

    @routes.get("/{payment_id}")
    async def payment(payment_id: str) -> dict[str, Any]:
        if paid is None:
            raise PaymentsAbsent
        refund = await paid.refunds.of_payment(payment_id)
        return await paid.task_gate.status(payment_id) | {"refund": refund.shown() if refund is not None else None}

    @routes.post("/{payment_id}/refund")
    async def refund(payment_id: str, body: JsonBody, request: Request, response: Response) -> dict[str, Any]:
        if paid is None:
            raise PaymentsAbsent
        signature = body.get("signature")
        if signature is None and "authorization" in request.headers:
            caller = await caller_of(request.headers["authorization"])
            caller.require_any("admin")
            caller.require_operator()
            given = await paid.refunds.give(payment_id)
        elif signature is None:
            payer = await paid.sign_ins.needed(request.headers.raw, f"{origin}/api/v2/payments/{payment_id}/refund")
            given = await paid.refunds.ask_as(payment_id, payer)
        elif isinstance(signature, str):
            given = await paid.refunds.ask(payment_id, signature)
        else:
            raise InvalidInput("signature", "must be a string")
        response.status_code = 200 if given.paid else 202
        return given.shown()

    return routes
