"""`/api/v2/tenants`: made by the operator, prepaid, with their first key; and the frame of each one's policy."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from agentnode.api.keys import shown_once
from ledger.accounts import Accounts, Caller, Policies, scopes_of_role, shown
from ledger.errors import Conflict, InvalidInput
from ledger.ids import new_id


def router(accounts: Accounts, policies: Policies, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/tenants")
    admin = needs("admin")

    @routes.post("", status_code=201)
    async def create(body: JsonBody, caller: Caller = admin) -> dict[str, Any]:
        caller.require_operator()
        tenant_id = body.get("id") or new_id("tenant")
        if not isinstance(tenant_id, str):
            raise InvalidInput("id", "must be a text")
        name = body.get("name", tenant_id)
        if not await accounts.ensure_tenant(tenant_id, name, "prepaid"):
            raise Conflict(f"there is a tenant {tenant_id} already; take another id")
        key = await accounts.create_key(tenant_id, "first", scopes_of_role("owner"), role="owner")
        return {"id": tenant_id, "name": name, "billing": "prepaid", "key": shown_once(key)}

    @routes.get("/{tenant_id}/policy")
    async def policy(tenant_id: str, caller: Caller = admin) -> dict[str, Any]:
        caller.require_operator()
        return shown(await policies.of_tenant(tenant_id))

    @routes.put("/{tenant_id}/policy")
    async def frame(tenant_id: str, body: JsonBody, caller: Caller = admin) -> dict[str, Any]:
        caller.require_operator()
        return shown(await policies.frame_tenant(tenant_id, body))

    return routes
