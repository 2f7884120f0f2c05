"""The node of these tests: clients of it under keys with the scopes that a test names."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from fastapi import FastAPI

from agentnode.app import build_on
from agentnode.ground import ground_on
from agentnode.settings import Settings
from ledger.accounts import SCOPES, Accounts, Policies
from ledger.clock import SystemClock
from ledger.database import Database
from tests.node_keys import node_keys
from trust.keystore import Keystore


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ApiNode]:
    """Built as it is run, on keys that are open already; its database has its tables."""
    wallets = Keystore(settings.data / "wallets", "")
    ground = ground_on(settings, Database(settings.database), SystemClock(), "test", node_keys(), wallets)
    app = await build_on(ground)
    async with app.router.lifespan_context(app):
        yield ApiNode(app, ground.accounts, ground.policies)


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
