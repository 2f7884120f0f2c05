"""A node as a process whose upstreams are ours: started, killed, stopped, and its ledger read from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from agentnode.cli.local import TENANT, accounts, policies
from agentnode.settings import Settings, load
from ledger.accounts import SCOPES
from tests.forked import Program
from tests.scenarios.furnished import furnish

MODEL = "m1"
LIMITS = {"requests_per_hour": 10**9, "usd_per_day": 10**6, "concurrent": 10**5, "usd_per_request": 50}
_PRICED = {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.60, "context": 128_000, "max_output": 4_096}


def upstream_at(name: str, api: str, *, input_usd_per_mtok: float = 0.15) -> dict[str, Any]:
    """An `[[upstreams]]` table: the same model as at the others, whose price says which is the best on paper."""
    return {
        "name": name,
        "base_url": api,
        "models": [{"id": MODEL, **_PRICED, "input_usd_per_mtok": input_usd_per_mtok}],
    }


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """The API of an upstream that is dead: the port is kept, and nobody listens."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}/v1"


def free_port() -> int:
    """For a node that is to be found at the same port after its restart."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def settings_of(folder: Path, upstreams: Sequence[dict[str, Any]], **more: Any) -> Settings:
    furnish(folder)
    return load({}, data=folder, chain="none", upstreams=list(upstreams), **{"port": 0, **more})


def new_key(settings: Settings, limits: dict[str, Any] | None = None) -> str:
    """A key of a tenant whose policy refuses nothing, made as the operator makes it."""

    async def make() -> str:
        async with accounts(settings) as own, policies(settings) as framed:
            await own.ensure_tenant(TENANT, TENANT)
            await framed.frame_tenant(TENANT, {"limits": {**LIMITS, **(limits or {})}})
            return (await own.create_key(TENANT, "test", SCOPES)).secret

    return asyncio.run(make())


class EngineNode:
    """Of these settings; `url` once it serves. Where `settings.port` is 0 each start takes another port."""

    def __init__(self, settings: Settings, module: str = "agentnode", **environment: str) -> None:
        furnish(settings.data)
        self.settings = settings
        self.log_path = settings.data / "node.log"
        self._module, self._environment = module, environment
        self.start()

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTNODE_", "P402_"))}
        environment = {**kept, "AGENTNODE_SETTINGS": self.settings.model_dump_json(), **self._environment}
        self.process = Program(self._module, environment=environment, log=self.log_path)
        word, _, self.url = self.process.stdout.readline().strip().partition(" ")
        assert word == "ready", self.log[-3_000:]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As by kill -9."""
        self.process.kill()

    def stop(self) -> int:
        """Drained, as by SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text()


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[EngineNode]:
    """A node that is ended however the test ends."""
    node = EngineNode(settings)
    try:
        yield node
    finally:
        if node.process.code is None:
            node.signal(signal.SIGCONT)
            node.stop()


@contextlib.contextmanager
def api(node_url: str, key: str) -> Iterator[httpx.Client]:
    """The node's own routes."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{node_url}/api/v2", headers=headers, timeout=60, trust_env=False) as client:
        yield client


@contextlib.asynccontextmanager
async def reading(database_url: str) -> AsyncIterator[Any]:
    """`await rows(SQL, **values)` on the node's database; each reads one snapshot."""
    from sqlalchemy import text

    from ledger.database import Database

    database = Database(database_url)

    async def rows(statement: str, **values: Any) -> list[Any]:
        async with database.read() as session:
            return list((await (await session.connection()).execute(text(statement), values)).all())

    try:
        yield rows
    finally:
        await database.close()
