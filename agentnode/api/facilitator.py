"""The node as an x402 facilitator: `/facilitator/verify`, `/settle`, `/supported`. Open, as facilitators are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody
from agentnode.payments import PaymentsAbsent
from agentnode.payments.assembly import Payments
from agentnode.payments.facilitators.open import OpenFacilitator


def router(paid: Payments | None) -> APIRouter:
    routes = APIRouter(prefix="/facilitator")

    def present() -> OpenFacilitator:
        if paid is None:
            raise PaymentsAbsent
        return paid.open_facilitator

    @routes.post("/verify")
    async def verify(body: JsonBody) -> dict[str, Any]:
        return await present().verify_request(body)

    @routes.post("/settle")
    async def settle(body: JsonBody) -> dict[str, Any]:
        return await present().settle_request(body)

    @routes.get("/supported")
    async def supported() -> dict[str, Any]:
        return present().supported()

    return routes
