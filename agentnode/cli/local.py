"""The operator's own access: parts of a node opened on its data folder, and a client of the node that runs on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import AgentNodeError

if TYPE_CHECKING:
    import httpx

    from agentnode.settings import Settings
    from ledger.accounts import Accounts, Policies
    from ledger.database import Database
    from trust.keystore import Keystore

TENANT = "default"
"""The tenant of whoever sits at the machine."""


class NodeSaid(AgentNodeError):
    """What a node answered, passed on in its own words."""

    def __init__(self, error: dict[str, Any], status: int) -> None:
        self.error = error
        self.answered = status
        super().__init__("")

    def __str__(self) -> str:
        return str(self.error.get("message", f"the node answered {self.answered}"))

    @property
    def unclear(self) -> bool:
        """Money may have moved."""
        return self.error.get("code") == "SETTLEMENT_PENDING"


class NodeClient:
    """A node's HTTP face under one key."""

    def __init__(self, url: str, key: str) -> None:
        import httpx

        self.url = url
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=180)

    def call(self, method: str, path: str, body: Any = None, params: dict[str, Any] | None = None) -> Any:
        """The answer's JSON. Raises NodeSaid for a refusal."""
        import httpx

        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            message = f"NODE_SILENT: the node at {self.url} did not answer ({type(error).__name__}); is it up?"
            raise NodeSaid({"code": "NODE_SILENT", "message": message}, 503) from error
        if answer.is_error:
            raise NodeSaid(_error_of(answer), answer.status_code)
        return answer.json() if answer.headers.get("content-type") == "application/json" else answer.text


@contextlib.contextmanager
def node(data: Path, as_operator: bool = False) -> Iterator[NodeClient]:
    """The node that P402_BASE_URL names, else the one that runs on the folder, else one started for the while."""
    from agentnode.settings import load

    url, key = os.environ.get("P402_BASE_URL"), os.environ.get("P402_API_KEY")
    if url:
        if not key:
            message = "KEY_INVALID: P402_BASE_URL is set; set P402_API_KEY too (agentnode keys create NAME prints one)"
            raise NodeSaid({"code": "KEY_INVALID", "message": message}, 401)
        yield NodeClient(url.rstrip("/"), key)
        return
    settings = load(os.environ, data=data)
    with contextlib.ExitStack() as stack:
        url = running(data) or stack.enter_context(_started(settings))
        secret = stack.enter_context(own_key(settings, as_operator))
        yield NodeClient(url, secret)


@contextlib.asynccontextmanager
async def accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Tenants and keys of the folder's database, brought up to date."""
    from ledger.accounts import Accounts
    from ledger.clock import SystemClock
    from trust.keys import NodeKeys
    from trust.keystore import open_password

    async with database(settings) as opened:
        password, _ = open_password(settings.data, settings.over(os.environ))
        yield Accounts(opened, SystemClock(), NodeKeys.open(settings.data / "keys", password))


@contextlib.asynccontextmanager
async def policies(settings: Settings) -> AsyncIterator[Policies]:
    """Policies of the folder's database: whoever has the folder is the operator."""
    from ledger.accounts import AccountBook, Policies
    from ledger.clock import SystemClock

    async with database(settings) as opened:
        clock, defaults_of = SystemClock(), settings.default_limits
        yield Policies(opened, clock, AccountBook(opened, clock, defaults_of), defaults_of)


@contextlib.asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The folder's database, brought up to date."""
    from agentnode.migrations import LOCATIONS
    from ledger.database import Database

    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened = Database(settings.database)
    try:
        await opened.upgrade(LOCATIONS)
        yield opened
    finally:
        await opened.close()


def keystore(settings: Settings) -> Keystore:
    """The folder's wallets."""
    from trust.keystore import Keystore, open_password

    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    password, _ = open_password(settings.data, settings.over(os.environ))
    return Keystore(settings.data / "wallets", password)


@contextlib.contextmanager
def own_key(settings: Settings, as_operator: bool = False) -> Iterator[str]:
    """A key for one command, revoked at its end: who has the folder and its password is the operator."""
    from ledger.accounts import OPERATOR

    tenant = OPERATOR if as_operator else TENANT

    async def make() -> tuple[str, str]:
        async with accounts(settings) as own:
            await own.ensure_tenant(tenant, tenant)
            made = await own.create_key(tenant, "cli", ["admin"] if as_operator else ["spend", "mandates", "bazaar"])
        return made.id, made.secret

    async def revoke(key_id: str) -> None:
        async with accounts(settings) as own:
            await own.revoke_key(tenant, key_id)

    key_id, secret = asyncio.run(make())
    try:
        yield secret
    finally:
        asyncio.run(revoke(key_id))


def running(data: Path) -> str | None:
    """The URL of the node that runs on the folder."""
    import httpx

    with contextlib.suppress(OSError, httpx.HTTPError):
        url = (data / "node.url").read_text().strip()
        if httpx.get(f"{url}/api/v2/health", timeout=5, trust_env=False).is_success:
            return url
    return None


@contextlib.contextmanager
def _started(settings: Settings) -> Iterator[str]:
    import subprocess

    environment = {**os.environ, "AGENTNODE_SETTINGS": settings.model_copy(update={"port": 0}).model_dump_json()}
    child = subprocess.Popen([sys.executable, "-m", "agentnode"], stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert child.stdout is not None
        word, _, url = child.stdout.readline().strip().partition(" ")
        if word != "ready":
            message = f"NODE_NOT_STARTED: no node could be started on {settings.data}; its own words are above"
            raise NodeSaid({"code": "NODE_NOT_STARTED", "message": message}, 503)
        yield url
    finally:
        child.terminate()
        child.wait(timeout=30)


def _error_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        error = answer.json().get("error")
    except ValueError:
        error = None
    return error if isinstance(error, dict) else {"message": f"the node answered {answer.status_code}"}
