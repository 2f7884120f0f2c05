"""A node as users of its OpenAI face meet it: a process without a chain, before `tests/upstream`, and its users."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import openai

from agentnode.cli.local import accounts
from ledger.accounts import OPERATOR
from tests.scenarios.engine_node import EngineNode, settings_of

PRICED = {
    "input_usd_per_mtok": "1",
    "output_usd_per_mtok": "2",
    "context": 128_000,
    "max_output": 1_000,
    "capabilities": ["chat", "vision", "function_calling", "json"],
    "quality": 0.5,
}


def upstream_table(name: str, api: str, *models: str, **more: Any) -> dict[str, Any]:
    """An `[[upstreams]]` table of models at 1 and 2 USD per million tokens."""
    return {"name": name, "base_url": api, "models": [PRICED | {"id": model} for model in models], **more}


class Gateway(EngineNode):
    """A running node, and its operator, who makes tenants over HTTP."""

    def __init__(self, folder: Path, upstreams: Sequence[dict[str, Any]], **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(settings_of(folder, upstreams, **settings))
        self._owners: dict[str, User] = {}

    @cached_property
    def operator(self) -> User:
        async def make() -> str:
            async with accounts(self.settings) as own:
                await own.ensure_tenant(OPERATOR, OPERATOR)
                return (await own.create_key(OPERATOR, "test", ["admin"])).secret

        return User(self.url, asyncio.run(make()))

    def user(self, tenant_id: str, *scopes: str, billing: str = "open", policy: dict[str, Any] | None = None) -> User:
        """Somebody with a key of the tenant, of all scopes where none are named. A tenant that is new is made with
        this billing, and this frame of its policy."""
        owner = self._owners.get(tenant_id)
        if owner is None:
            made = self.operator.ask("POST", "/tenants", {"id": tenant_id}, 201)
            self.operator.ask("PUT", f"/tenants/{tenant_id}/policy", {"billing": billing} | (policy or {}))
            owner = self._owners[tenant_id] = User(self.url, made["key"]["key"])
        if not scopes:
            return owner
        return User(self.url, owner.ask("POST", "/keys", {"name": "test", "scopes": list(scopes)}, 201)["key"])


class User:
    """Somebody with a key, over plain HTTP and with OpenAI's SDK."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, verify=False)

    def sdk(self, base: str = "/v1", **settings: Any) -> openai.OpenAI:
        """It does not retry, unless told to."""
        usual = {"max_retries": 0, "http_client": self._sdk_http}
        return openai.OpenAI(base_url=self.url + base, api_key=self.key, **usual | settings)

    @cached_property
    def _sdk_http(self) -> httpx.Client:
        return httpx.Client(timeout=60, trust_env=False, verify=False)

    def chat(self, text: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=asked(text, **body), headers=headers)

    def ask(self, method: str, path: str, body: Any = None, expect: int = 200, **headers: str) -> Any:
        """The answer's JSON. A refusal is answered with its code."""
        answer = self.http.request(method, f"/api/v2{path}", json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        said = answer.json()
        return said["error"]["code"] if "error" in said else said

    def session(self, budget_usd: str, **more: Any) -> str:
        return str(self.ask("POST", "/sessions", {"budget_usd": budget_usd, **more}, 201)["id"])

    def trace(self, request_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.ask("GET", f"/requests/{request_id}/trace")["events"]
        return events


def asked(text: str, **body: Any) -> dict[str, Any]:
    return {"model": "m1", "messages": [{"role": "user", "content": text}], **body}
