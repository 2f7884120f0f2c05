"""`/api/v2/bazaar`: what can be hired, and hiring it (docs/bazaar.md)."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request

from agentnode.api.auth import JsonBody, Needs
from agentnode.api.idempotency import IdempotencyKey, checked_key, hash_of
from agentnode.hire import Buyer, HireRequest
from bazaar import Bazaar
from ledger.accounts import Caller
from ledger.errors import Conflict
from ledger.work import Idempotency

_LEASE_S = 180
"""Longer than a seller may take to name its price; a run that has lost its lease to another can no longer pay."""


def router(bazaar: Bazaar, buyer: Buyer, idempotency: Idempotency, needs: Needs) -> APIRouter:
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
    async def call(body: JsonBody, caller: Caller = spends, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
        if idempotency_key is None:
            return await buyer.hire(caller.tenant_id, HireRequest.parse(body, caller.key_id))
        return await _hire_once(buyer, idempotency, caller, idempotency_key, body)

    @routes.get("/calls/{call_id}")
    async def called(call_id: str, caller: Caller = spends) -> dict[str, Any]:
        return await buyer.call(caller.tenant_id, call_id)

    return routes


async def _hire_once(
    buyer: Buyer, idempotency: Idempotency, caller: Caller, key: str, body: dict[str, Any]
) -> dict[str, Any]:
    """The hire, or, under a key that came before, what became of the first: a call with a price as it stands now."""
    tenant_id, scope = caller.tenant_id, f"hire:{caller.tenant_id}"
    key, request = checked_key(key), HireRequest.parse(body, caller.key_id)
    replay = await idempotency.begin(scope, key, hash_of(body), _LEASE_S)
    if replay is not None and replay.ref is not None:
        return await buyer.call(tenant_id, replay.ref)
    if replay is not None and replay.content is not None:
        return dict(json.loads(replay.content))
    if replay is not None:
        raise Conflict("the work was free and is done, and its answer is no longer kept; use a new key")
    try:
        result = await buyer.hire(
            tenant_id, request, lambda session, call_id: idempotency.bind(session, scope, key, call_id)
        )
    except BaseException:
        await idempotency.abandon(scope, key)
        raise
    if result["payment"] is None:
        await idempotency.finish(scope, key, tenant_id=tenant_id, status=200, content=json.dumps(result).encode())
    return result
