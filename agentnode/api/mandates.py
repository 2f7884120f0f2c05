"""`/api/a2a/mandates`: prepare, create, read, use, authorise, capture, release, revoke (docs/mandates.md)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from ledger.accounts import Caller
from ledger.errors import InvalidInput
from ledger.money import usd_nanos
from mandates import Mandates, UseRequest


def router(mandates: Mandates, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/a2a/mandates")
    by_key = needs("mandates")

    @routes.post("/prepare")
    async def prepare(body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.prepare(caller.tenant_id, body)

    @routes.post("", status_code=201)
    async def create(body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.create(caller.tenant_id, body)

    @routes.get("")
    async def listed(caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.list(caller.tenant_id)

    @routes.get("/{mandate_id}")
    async def get(mandate_id: str, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.get(caller.tenant_id, mandate_id)

    @routes.get("/{mandate_id}/uses")
    async def uses(mandate_id: str, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.uses(caller.tenant_id, mandate_id)

    @routes.post("/{mandate_id}/revoke")
    async def revoke(mandate_id: str, body: dict[str, Any] | None = None, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.revoke(caller.tenant_id, mandate_id, body)

    @routes.post("/{mandate_id}/use/prepare")
    async def prepare_use(mandate_id: str, body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.prepare_use(caller.tenant_id, mandate_id, body)

    @routes.post("/{mandate_id}/use")
    async def use(mandate_id: str, body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.use(caller.tenant_id, mandate_id, UseRequest.parse(body))

    @routes.post("/{mandate_id}/authorize")
    async def authorize(mandate_id: str, body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        authorized = await mandates.authorize(caller.tenant_id, mandate_id, UseRequest.parse(body))
        return {"use": authorized.use, "token": authorized.token}

    @routes.post("/{mandate_id}/uses/{use_id}/capture")
    async def capture(mandate_id: str, use_id: str, body: JsonBody, caller: Caller = by_key) -> dict[str, Any]:
        if "amount_usd" not in body:
            raise InvalidInput("amount_usd", "is missing")
        return await mandates.capture(caller.tenant_id, mandate_id, use_id, usd_nanos(body["amount_usd"]))

    @routes.post("/{mandate_id}/uses/{use_id}/release")
    async def release(mandate_id: str, use_id: str, caller: Caller = by_key) -> dict[str, Any]:
        return await mandates.release(caller.tenant_id, mandate_id, use_id)

    return routes
