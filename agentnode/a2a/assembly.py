"""Puts the tasks together: what is done here at which price, who is told of it, and the routes and the card of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from agentnode.a2a.dialects import About, Authenticate, agent_card, push_body, routes, security_schemes
from agentnode.a2a.runtime import TaskRuntime
from agentnode.a2a.skills import Skills
from agentnode.a2a.toll_gate import Gate
from agentnode.ground import Ground
from agentnode.push import PushConfigs, PushSender
from agentnode.ticking import Tick, beside
from ledger.work import Outbox, Rates


@dataclass(frozen=True)
class Tasks:
    """What the rest of the node needs of A2A."""

    runtime: TaskRuntime
    outbox: Outbox
    routes: Sequence[BaseRoute]
    sender: PushSender

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return ((3600, self.outbox.forget),)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.runtime.start()
        async with beside(self.sender.run()):
            try:
                yield
            finally:
                await self.runtime.close()


def open_tasks(
    ground: Ground,
    skills: Skills,
    gate: Gate | None,
    resource: str,
    version: str,
    authenticate: Authenticate,
    about: About,
) -> Tasks:
    """`resource` is the URL that is paid for and signed in to; `about` says what the extended card adds."""
    settings, database, vault, clock, keys = ground.settings, ground.database, ground.vault, ground.clock, ground.keys
    outbox = Outbox(
        database, clock, "push", Rates(tenant=settings.push_per_minute, host=settings.push_per_minute_to_host)
    )
    pushes = PushConfigs(database, vault, clock, outbox, ground.web)
    runtime = TaskRuntime(database, vault, clock, ground.idempotency, ground.owner, gate, skills, resource, pushes)
    schemes = security_schemes(settings.url, signs_in=gate is not None)
    card = agent_card(settings.name, settings.description, version, settings.url, skills, schemes, extended=True)
    served = routes(runtime, card, authenticate, clock.now_us(), keys.sign, about)
    return Tasks(runtime, outbox, served, PushSender(outbox, pushes, ground.web, clock, keys, push_body(runtime)))
