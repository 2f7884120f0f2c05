"""The node of these tests: clients of it under keys with the scopes that a test names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import httpx
from fastapi import FastAPI

from ledger.accounts import SCOPES, Accounts, Policies


@dataclass
class ApiNode:
    app: FastAPI
    accounts: Accounts
    policies: Policies

    def client(self, secret: str | None = None) -> ApiClient:
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return ApiClient(httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers))

    async def tenant(self, tenant_id: str, *scopes: str, billing: Literal["open", "prepaid"] = "open") -> ApiClient:
        """A client under a new key of the tenant, with all scopes where none are named."""
        await self.accounts.ensure_tenant(tenant_id, tenant_id, billing)
        return self.client((await self.accounts.create_key(tenant_id, "test", scopes or SCOPES)).secret)


@dataclass
class ApiClient:
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: Any = None, expect: int = 200, **headers: str) -> Any:
        """The answer's JSON. A refusal is answered with its code."""
        answer = await self.http.request(method, f"/api/v2{path}", json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        said = answer.json()
        return said["error"]["code"] if "error" in said else said
