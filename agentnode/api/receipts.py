"""`/api/v2/receipts`: what a receipt has left, for who has its id, the payer's secret; all, for who signs in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from agentnode.evidence.charges import Charges
from agentnode.payments import PaymentsAbsent
from agentnode.payments.assembly import Payments

_PATH = "/api/v2/receipts"


def router(paid: Payments | None, origin: str, charges: Charges) -> APIRouter:
    routes = APIRouter(prefix=_PATH)
    uri = origin + _PATH

    @routes.get("")
    async def listed(request: Request, response: Response) -> dict[str, Any]:
        if paid is None:
            raise PaymentsAbsent
        payer = await paid.sign_ins.needed(request.headers.raw, uri)
        response.headers["Cache-Control"] = "no-store"  # who asks stands in no header that a cache knows
        return {"object": "list", "data": [each.shown() for each in await paid.balances.of_payer(payer)]}

    @routes.get("/{receipt_id}")
    async def receipt(receipt_id: str) -> dict[str, Any]:
        if paid is None:
            raise PaymentsAbsent
        return (await paid.balances.of(receipt_id)).shown()

    @routes.get("/{receipt_id}/charges/{event_id}")
    async def charge(receipt_id: str, event_id: str) -> dict[str, Any]:
        return await charges.of(receipt_id, event_id)

    return routes
