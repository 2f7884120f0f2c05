"""The cache over HTTP: stats and entries with `chat`, changes with `admin`, each tenant its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from agentnode.api import auth, cache, errors
from ledger.accounts import Accounts
from ledger.database import Database
from tests.engine.cache.cache_world import World, question


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app)
    accounts = Accounts(world.database, world.clock, world.key)
    app.include_router(cache.router(world.cache, auth.needs(accounts)))
    await accounts.ensure_tenant("acme", "Acme")
    made = await accounts.create_key("acme", "all", ["chat", "admin"])
    headers = {"Authorization": f"Bearer {made.secret}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node/api/v2/cache", headers=headers) as one:
        yield one


async def test_the_routes_tell_and_set(world: World, client: httpx.AsyncClient) -> None:
    """Stats in the promised shape, entries without words, settings that hold, and forgetting."""
    await world.keep(question("Planted?"))
    await world.keep(question("Planted?", tenant="rival"))
    await world.cache.find(question("Planted?"))
    await world.cache.find(question("Other?"))
    stats = (await client.get("/stats")).json()
    assert stats == {
        **{"hits": 1, "misses": 1, "hit_rate": 0.5, "entries": 1},
        **{"saved_usd": 0.0025, "saved_usd_exact": "0.0025"},
    }
    entries = (await client.get("/entries")).json()
    assert (entries["object"], len(entries["data"]), entries["next_cursor"]) == ("list", 1, None)
    assert "Planted" not in str(entries)
    assert (await client.get("/entries", params={"cursor": entries["data"][0]["id"]})).json()["data"] == []
    changed = await client.put("/config", json={"partition": "key", "ttl_s": 60})
    assert changed.json() == {
        **{"enabled": True, "similarity": 0.8, "ttl_s": 60, "partition": "key", "max_entries": 10_000},
    }
    assert (await client.put("/config", json={})).json() == changed.json()
    assert (await client.post("/invalidate", json={"model": "mock/m2"})).json() == {"invalidated": 0}
    assert (await client.post("/invalidate", json={"id": entries["data"][0]["id"]})).json() == {"invalidated": 1}
    assert (await client.post("/invalidate")).json() == {"invalidated": 0}
    assert (await world.cache.stats("rival"))["entries"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("PUT", "/config", {"ttl_s": 10**6}, "ttl_s"),
        ("PUT", "/config", {"other": 1}, "other"),
        ("POST", "/invalidate", {"other": 1}, "other"),
        ("POST", "/invalidate", {"model": 1}, "model"),
        ("POST", "/invalidate", {"id": "x"}, "id"),
        ("GET", "/entries?cursor=x", None, "cursor"),
    ],
)
async def test_bad_input_is_refused_by_name(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, object] | None, param: str
) -> None:
    """A 400 that names the field, and nothing is done."""
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_changes_need_admin_and_everything_a_key(world: World, client: httpx.AsyncClient) -> None:
    """A key that may only chat reads; without a key nothing."""
    accounts = Accounts(world.database, world.clock, world.key)
    chat = await accounts.create_key("acme", "chat", ["chat"])
    only_chat = {"Authorization": f"Bearer {chat.secret}"}
    assert (await client.get("/stats", headers=only_chat)).status_code == 200
    assert (await client.put("/config", json={}, headers=only_chat)).status_code == 403
    assert (await client.post("/invalidate", headers=only_chat)).status_code == 403
    assert (await client.get("/stats", headers={"Authorization": ""})).status_code == 401
