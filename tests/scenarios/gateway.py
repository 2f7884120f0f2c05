"""A node as users of its OpenAI face meet it: a process without a chain, before `tests/upstream`, and keys of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
import openai

from agentnode.cli.local import accounts, policies
from ledger.accounts import SCOPES
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
    """A running node. Keys and policies are made as the operator makes them, on its database."""

    def __init__(self, folder: Path, upstreams: Sequence[dict[str, Any]], **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(settings_of(folder, upstreams, **settings))

    def key(
        self, tenant_id: str, *scopes: str, billing: Literal["open", "prepaid"] = "open", policy: Any = None
    ) -> str:
        """A new key with these scopes, all where none are named; `policy` is the operator's frame of its tenant."""

        async def make() -> str:
            async with accounts(self.settings) as own:
                await own.ensure_tenant(tenant_id, tenant_id, billing)
                made = await own.create_key(tenant_id, "test", scopes or sorted(SCOPES))
            if policy is not None:
                async with policies(self.settings) as framed:
                    await framed.frame_tenant(tenant_id, policy)
            return made.secret

        return asyncio.run(make())

    def user(self, tenant_id: str, *scopes: str, **how: Any) -> User:
        return User(self.url, self.key(tenant_id, *scopes, **how))


class User:
    """Somebody with a key, over plain HTTP and with OpenAI's SDK."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def sdk(self, base: str = "/v1", **settings: Any) -> openai.OpenAI:
        """It does not retry, unless told to."""
        return openai.OpenAI(base_url=self.url + base, api_key=self.key, **{"max_retries": 0, **settings})

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
