"""A webhook receiver over real HTTP, and a sender whose clock the test moves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentnode.a2a import TaskRuntime, push_body
from agentnode.push import PushSender
from ledger.clock import Clock
from ledger.database import Database
from ledger.work import Outbox, Rates
from tests.a2a.a2a_world import pushes, served_app
from tests.node_keys import node_keys
from trust.keys import NodeKeys
from trust.web import GuardedClient


@dataclass
class Receiver:
    """Answers with the next of `answers`, then 200; keeps what it was sent."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.raw.append(await request.body())
        self.bodies.append(json.loads(self.raw[-1]))
        self.headers.append(dict(request.headers))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    @property
    def states(self) -> list[str]:
        return [(body.get("task") or body)["status"]["state"] for body in self.bodies]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    async with served_app(lambda _: app) as origin:
        receiver.url = f"{origin}/hook"
        yield receiver


def a_sender(
    database: Database,
    clock: Clock,
    runtime: TaskRuntime,
    rates: Rates | None = None,
    web: GuardedClient | None = None,
) -> tuple[PushSender, Outbox, NodeKeys]:
    web = web or GuardedClient(["127.0.0.1/32"])
    outbox, keys = Outbox(database, clock, "push", rates or Rates()), node_keys()
    return PushSender(outbox, pushes(database, clock, web), web, clock, keys, push_body(runtime)), outbox, keys
