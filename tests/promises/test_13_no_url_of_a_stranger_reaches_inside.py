"""Promise 13: no URL of a stranger reaches inside, wherever it is handed in and whatever its name server says later."""

from __future__ import annotations

import ast
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentnode.cli.local import accounts
from ledger.accounts import SCOPES
from tests.promises.hostile_names import HERE, INSIDE, LEADS_TO
from tests.scenarios.node_process import NodeProcess

HOUSE = Path(__file__).parent.parent.parent
PAYEE = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
LITERALS = (
    *(INSIDE, f"[::ffff:{INSIDE}]", "[::ffff:7f00:2]", "2130706434", "0x7f000002", "0177.0.0.2", "127.2", f"{INSIDE}."),
    *("[64:ff9b::7f00:2]", "[64:ff9b:1::7f00:2]", "[2002:7f00:2::1]", "[fe80::1]", "[fe80::1%25lo]", "[fd00::1]"),
    *("[::]", "0.0.0.0", "0", "10.0.0.1", "169.254.169.254", f"user@{INSIDE}", f"good.example@{INSIDE}"),
    "127。0。0。2",
)
HOSTS = (*LITERALS, *LEADS_TO)
_numbers = itertools.count(1)


class Site:
    """A server that keeps who came, at any loopback address; `answers` are documents, or a URL to go on to, by path."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                answer = site.answers.get(self.path, {})
                self.send_response(302 if isinstance(answer, str) else 200)
                if isinstance(answer, str):
                    self.send_header("Location", answer.encode().decode("latin-1"))
                content = json.dumps(answer).encode()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class World:
    node: NodeProcess
    key: str
    outside: Site
    inside: Site
    task_id: str = ""

    def url(self, host: str, path: str = "/card.json") -> str:
        return f"http://{host}:{self.outside.port}{path}"

    def placed(self, answer: Any) -> str:
        """A new path outside that answers so."""
        path = f"/{next(_numbers)}.json"
        self.outside.answers[path] = answer
        return self.url("good.example", path)

    def post(self, path: str, body: dict[str, Any]) -> str:
        headers = {"A2A-Version": "1.0", "Authorization": f"Bearer {self.key}"}
        answer = self.node.http.post(path, json=body, headers=headers)
        assert answer.status_code < 500 or answer.status_code == 502, answer.text
        return answer.text

    def rpc(self, method: str, params: dict[str, Any], version: str = "1.0") -> dict[str, Any]:
        headers = {"A2A-Version": version, "Authorization": f"Bearer {self.key}"}
        return self.node.rpc(method, params, headers)

    def task(self) -> str:
        self.task_id = self.task_id or str(self.rpc("SendMessage", {"message": echo()})["result"]["task"]["id"])
        return self.task_id


def echo() -> dict[str, Any]:
    parts = [{"text": "x"}]
    return {"messageId": f"m{next(_numbers)}", "role": "ROLE_USER", "parts": parts, "metadata": {"skill": "echo"}}


def card_at(url: str) -> dict[str, Any]:
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return {
        **{"name": "A stranger", "description": "Sells.", "version": "1", "capabilities": {}},
        **{"defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"]},
        "supportedInterfaces": [interface],
        "skills": [{"id": "ask", "name": "ask", "description": "asks", "tags": ["llm"]}],
    }


def listing(**place: str) -> dict[str, Any]:
    said = {"name": "A stranger", "description": "Sells.", "price_per_call_usd": 0.01, "pay_to": PAYEE}
    return {**said, "capabilities": ["chat"], **place}


def hire(**whom: Any) -> dict[str, Any]:
    return {"message": "hello", "max_price": 0.01, **whom}


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    outside = Site(HERE)
    inside = Site(INSIDE, outside.port)
    yield outside, inside
    outside.close()
    inside.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Allowed to reach 127.0.0.1 and nothing else that is not public; its names come from a hostile server."""
    none: Any = SimpleNamespace(url="none")
    folder = tmp_path_factory.mktemp("promise-13") / "node"
    running = NodeProcess(folder, none, module="tests.promises.hostile_names", allow_nets=[f"{HERE}/32"])
    yield running
    running.stop()


@pytest.fixture
async def world(node: NodeProcess, sites: tuple[Site, Site]) -> World:
    async with accounts(node.settings) as own:
        await own.ensure_tenant("curious", "curious", "prepaid")
        key = (await own.create_key("curious", f"test {next(_numbers)}", SCOPES)).secret
    return World(node, key, *sites)


PLACES: dict[str, Callable[[World, str], Any]] = {
    "a push configuration": lambda world, url: world.rpc(
        "CreateTaskPushNotificationConfig", {"taskId": world.task(), "url": url}
    ),
    "one with a message": lambda world, url: world.rpc(
        "SendMessage", {"message": echo(), "configuration": {"taskPushNotificationConfig": {"url": url}}}
    ),
    "one of version 0.3": lambda world, url: world.rpc(
        "tasks/pushNotificationConfig/set",
        {"taskId": world.task(), "pushNotificationConfig": {"url": url}},
        version="0.3",
    ),
    "one over HTTP+JSON": lambda world, url: world.post(
        f"/api/a2a/rest/tasks/{world.task()}/pushNotificationConfigs", {"url": url}
    ),
    "a listing's endpoint": lambda world, url: world.post("/api/v2/bazaar/listings", listing(endpoint=url)),
    "a listing's card": lambda world, url: world.post("/api/v2/bazaar/listings", listing(agent_card_url=url)),
    "a listing on trial": lambda world, url: world.post("/api/v2/bazaar/validate", listing(endpoint=url)),
    "a card on trial": lambda world, url: world.post("/api/v2/bazaar/validate", listing(agent_card_url=url)),
    "a hire by card": lambda world, url: world.post("/api/v2/bazaar/call", hire(agent_card_url=url)),
    "a hire by another Bazaar's listing": lambda world, url: world.post(
        "/api/v2/bazaar/call", hire(listing=listing(endpoint=url))
    ),
    "a resource over HTTP": lambda world, url: world.post(
        "/api/v2/bazaar/call", {"http": {"url": url, "method": "GET"}, "max_price": 0.01}
    ),
    "a redirect of a card": lambda world, url: world.post(
        "/api/v2/bazaar/call", hire(agent_card_url=world.placed(url))
    ),
    "where a card says that its agent is": lambda world, url: world.post(
        "/api/v2/bazaar/call", hire(agent_card_url=world.placed(card_at(url)))
    ),
}
"""Wherever a stranger or a tenant hands in a URL that the node calls, or an answer that leads on to one."""
REFUSALS = ("ADDRESS_REFUSED", "url_is_http", "what is no URL")
"""The last two are for what is written so that it is no URL to begin with."""


@pytest.mark.parametrize("place", PLACES)
def test_what_leads_inside_is_refused_where_it_is_handed_in(world: World, place: str) -> None:
    """Each notation of an address inside, and each name that leads there: refused by its code, and nobody came."""
    told = {host: json.dumps(PLACES[place](world, world.url(host))) for host in HOSTS}
    assert {host: said for host, said in told.items() if not any(refusal in said for refusal in REFUSALS)} == {}
    assert world.inside.asked == []


def test_a_name_that_moves_inside_after_it_was_checked_is_not_followed(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """Push, listing, card and agent: the name is looked up at each connection, and the address is the one checked."""
    moves = [f"moves-{n}.example" for n in range(4)]
    task = world.rpc(
        "SendMessage",
        {"message": echo(), "configuration": {"taskPushNotificationConfig": {"url": world.url(moves[0], "/hook")}}},
    )
    assert "result" in task, task
    listed = json.loads(world.post("/api/v2/bazaar/listings", listing(endpoint=world.url(moves[1]))))
    told = world.post("/api/v2/bazaar/call", hire(resource_id=listed["id"]))
    assert "ADDRESS_REFUSED" in told, told
    world.outside.answers["/card.json"] = card_at(world.url(moves[2], "/a2a"))
    told = world.post("/api/v2/bazaar/call", hire(agent_card_url=world.url(moves[2])))
    assert "ADDRESS_REFUSED" in told and "/card.json" in world.outside.asked, told
    world.outside.answers["/moved.json"] = world.url(moves[3])
    told = world.post("/api/v2/bazaar/call", hire(agent_card_url=world.url(moves[3], "/moved.json")))
    assert "/moved.json" in world.outside.asked, told
    headers, until = {"Authorization": f"Bearer {world.key}"}, time.monotonic() + 20
    while not (dead := world.node.http.get("/api/v2/push/deliveries", headers=headers).json()["data"]):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert {letter["problem"] for letter in dead} == {"ADDRESS_REFUSED"}
    assert world.inside.asked == []
    record_property("figure", f"{len(PLACES)} places, {len(HOSTS)} hosts, 4 names that moved; nobody came inside")


OPENS = {
    "agentnode/__main__.py": "listens",
    "agentnode/devchain/serve.py": "listens",
    "agentnode/api/devchain.py": "the node's own chain process",
    "agentnode/cli/demo.py": "a node that the demo started",
    "agentnode/cli/hire.py": "the operator's option --bazaar",
    "agentnode/cli/local.py": "the operator's own node",
    "agentnode/cli/processes.py": "processes that the command started",
    "agentnode/cli/wallet.py": "the operator's option --rpc",
    "agentnode/hire/http_seller.py": "the guarded transport",
    "agentnode/hire/seller.py": "the guarded transport",
    "agentnode/payments/networks.py": "the operator's rpc_url",
    "agentnode/payments/settling/broadcaster.py": "the operator's rpc_url",
    "agentnode/payments/compliance.py": "the operator's compliance_url",
    "agentnode/payments/schemes/signer.py": "the operator's rpc_url",
    "agentnode/sell/proxy.py": "the operator's wraps; no path leads to another host",
    "engine/providers/upstream_http.py": "the operator's upstreams",
    "trust/json_rpc.py": "the operator's rpc_url",
    "trust/guarded_transport.py": "the guard itself",
}
"""Each module that opens a connection by itself, and whose URL it is. A stranger's goes through trust.web."""

_LIBRARIES = {"httpx", "aiohttp", "httpcore", "socket", "web3", "x402", "a2a"}
_OTHERS = {
    "requests",
    "urllib3",
    "websockets",
    "pycurl",
    "ftplib",
    "smtplib",
    "telnetlib",
    "http",
    "anyio",
    "socketserver",
}
_OPENERS = {
    *("AsyncClient", "Client", "ClientSession", "HTTPProvider", "AsyncHTTPProvider", "urlopen", "open_connection"),
    *("create_connection", "AsyncConnectionPool", "ConnectionPool", "AsyncHTTPTransport", "HTTPTransport"),
    *("getaddrinfo", "connect_tcp", "create_unix_connection", "open_unix_connection", "HTTPFacilitatorClient"),
}
_VERBS = {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "socket"}


def opens(tree: ast.AST) -> bool:
    """Whether a module's code makes a client, a socket or a request of a library's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            if any(name.partition(".")[0] in _OTHERS or name == "urllib.request" for name in names):
                return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            of = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
            if name in _OPENERS or (of in _LIBRARIES and name in _VERBS):
                return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        "import httpx\nhttpx.get(url)",
        "def f():\n    from httpx import AsyncClient\n    return AsyncClient()",
        "import aiohttp\nasync def f():\n    async with aiohttp.ClientSession() as s: ...",
        "import asyncio\nasync def f(): await asyncio.open_connection(h, 1)",
        "from urllib.request import urlopen",
        "import requests",
    ],
)
def test_the_search_finds_who_opens_a_connection(code: str) -> None:
    assert opens(ast.parse(code))


def test_no_module_opens_a_connection_of_its_own_but_to_what_the_operator_names() -> None:
    """A new client fails here until it is the guard's, or its URL is the operator's and stands in the table."""
    packages = ("agentnode", "engine", "mandates", "bazaar", "trust", "ledger")
    modules = [path for package in packages for path in sorted((HOUSE / package).rglob("*.py"))]
    found = {str(path.relative_to(HOUSE)) for path in modules if opens(ast.parse(path.read_text()))}
    assert found == set(OPENS)


def test_only_the_wiring_makes_a_guarded_client() -> None:
    """So that whom it may reach is the operator's one setting, and nobody's own."""
    calls = {
        str(path.relative_to(HOUSE))
        for path in (HOUSE / "agentnode").rglob("*.py")
        if "GuardedClient(" in path.read_text()
    }
    assert calls == {"agentnode/ground.py", "agentnode/payments/assembly.py"}
