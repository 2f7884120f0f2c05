"""`/api/v2/bazaar`: what can be hired, and hiring it (wire.md, Bazaar)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from agentnode.api.auth import JsonBody, Needs
from agentnode.hire import Buyer, HireRequest
from bazaar import Bazaar
from ledger.accounts import Caller


def router(bazaar: Bazaar, buyer: Buyer, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/bazaar")
    sells, spends = needs("bazaar"), needs("spend")

    @routes.get("/discover")
    async def discover(request: Request) -> dict[str, Any]:
        return await bazaar.discover(dict(request.query_params))

    @routes.get("/listings")
    async def listings(request: Request) -> dict[str, Any]:
        return await bazaar.listings(dict(request.query_params))

    @routes.get("/listings/{listing_id}")
    async def listing(listing_id: str) -> dict[str, Any]:
        return await bazaar.get(listing_id)

    @routes.post("/listings", status_code=201)
    async def publish(body: JsonBody, caller: Caller = sells) -> dict[str, Any]:
        return await bazaar.publish(caller.tenant_id, body)

    @routes.post("/validate")
    async def validate(body: JsonBody, caller: Caller = sells) -> dict[str, Any]:
        return await bazaar.validate(body)

    @routes.post("/call")
    async def call(body: JsonBody, caller: Caller = spends) -> dict[str, Any]:
        return await buyer.hire(caller.tenant_id, HireRequest.parse(body))

    @routes.get("/calls/{call_id}")
    async def called(call_id: str, caller: Caller = spends) -> dict[str, Any]:
        return await buyer.call(caller.tenant_id, call_id)

    return routes
