"""`/api/v2/keys`: keys of the caller's tenant, shown once, rotated, revoked; the policy of each (docs/accounts.md)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from ledger.accounts import Accounts, Caller, KeySummary, NewKey, Policies, checked_scopes, scopes_of_role
from ledger.accounts import shown as shown_policy
from ledger.clock import rfc3339
from ledger.errors import AgentNodeError, InvalidInput


def router(accounts: Accounts, policies: Policies, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/keys")
    admin = needs("admin")

    @routes.post("", status_code=201)
    async def create(body: JsonBody, caller: Caller = admin) -> dict[str, Any]:
        scopes, role = _asked(body)
        caller.require_all_of(scopes)
        made = await accounts.create_key(caller.tenant_id, body.get("name", ""), scopes, role=role)
        if body.get("policy"):
            # Whom the policy is refused to has not seen the key, which ends here.
            try:
                await policies.set_key(caller.tenant_id, made.id, body["policy"])
            except AgentNodeError:
                await accounts.revoke_key(caller.tenant_id, made.id)
                raise
        return shown_once(made)

    @routes.get("")
    async def listed(caller: Caller = admin) -> dict[str, Any]:
        keys = await accounts.keys(caller.tenant_id)
        return {"object": "list", "data": [_shown(key) for key in keys]}

    @routes.post("/{key_id}/rotate")
    async def rotate(key_id: str, body: dict[str, Any] | None = None, caller: Caller = admin) -> dict[str, Any]:
        caller.require_all_of((await accounts.key(caller.tenant_id, key_id)).scopes)
        return shown_once(await accounts.rotate_key(caller.tenant_id, key_id, (body or {}).get("overlap_s", 0)))

    @routes.delete("/{key_id}")
    async def revoke(key_id: str, caller: Caller = admin) -> dict[str, Any]:
        return _shown(await accounts.revoke_key(caller.tenant_id, key_id))

    @routes.get("/{key_id}/policy")
    async def policy(key_id: str, caller: Caller = admin) -> dict[str, Any]:
        return shown_policy(await policies.of_key(caller.tenant_id, key_id))

    @routes.put("/{key_id}/policy")
    async def set_policy(key_id: str, body: JsonBody, caller: Caller = admin) -> dict[str, Any]:
        return shown_policy(await policies.set_key(caller.tenant_id, key_id, body))

    return routes


def shown_once(key: NewKey) -> dict[str, Any]:
    """A key with its secret, which no other answer has."""
    shown: dict[str, Any] = {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "role": key.role,
        "scopes": sorted(key.scopes),
        "key": key.secret,
    }
    if key.previous_until_us is not None:
        shown["previous_until"] = rfc3339(key.previous_until_us)
    return shown


def _asked(body: dict[str, Any]) -> tuple[frozenset[str], str | None]:
    role, scopes = body.get("role"), body.get("scopes")
    if (role is None) == (scopes is None):
        raise InvalidInput("scopes", "or role must be given, one of the two")
    if not isinstance(role, str | None):
        raise InvalidInput("role", "must be a name")
    if role is not None:
        return scopes_of_role(role), role
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise InvalidInput("scopes", "must be a list of names")
    return checked_scopes(scopes), None


def _shown(key: KeySummary) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "role": key.role,
        "scopes": sorted(key.scopes),
        "shown": f"{key.shown}…",
        "created_at": rfc3339(key.created_at_us),
        "revoked_at": None if key.revoked_at_us is None else rfc3339(key.revoked_at_us),
        "previous_until": None if key.previous_until_us is None else rfc3339(key.previous_until_us),
    }
