"""`/api/v2/policy`: what holds for the caller's tenant, and what it narrows itself (docs/accounts.md)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from ledger.accounts import Caller, Policies, shown


def router(policies: Policies, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/policy")
    admin = needs("admin")

    @routes.get("")
    async def policy(caller: Caller = admin) -> dict[str, Any]:
        return shown(await policies.of_tenant(caller.tenant_id))

    @routes.put("")
    async def set_policy(body: JsonBody, caller: Caller = admin) -> dict[str, Any]:
        return shown(await policies.set_tenant(caller.tenant_id, body))

    return routes
