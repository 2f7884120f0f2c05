"""The wiring: what exists, who knows whom, and in which order things start and stop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from agentnode import __version__
from agentnode.a2a import Skills, ask, ask_pricing, echo, open_tasks, sold
from agentnode.api import auth, errors
from agentnode.api.about import About
from agentnode.api.bounded_bodies import BoundedBodies
from agentnode.api.routes import add_routes
from agentnode.evidence.collect import Evidence
from agentnode.ground import Ground, open_ground
from agentnode.hire import AgentCards, Calls, open_hiring
from agentnode.payments.assembly import open_payments
from agentnode.sell import Wrapped, skills_in, wrap_from_table
from agentnode.settings import Settings
from agentnode.ticking import Opened, scheduled
from bazaar import Bazaar
from engine import open_engine
from ledger.money import usd_nanos
from mandates import Mandates


async def build(settings: Settings, on_point: Callable[[str], None] = lambda name: None) -> FastAPI:
    """Everything once, from the ledger up. `on_point` hears each point of the journals: crash tests listen there."""
    return await build_on(await open_ground(settings, on_point))


async def build_on(ground: Ground) -> FastAPI:
    settings, database, clock, keys = ground.settings, ground.database, ground.clock, ground.keys
    paid = await open_payments(ground) if settings.has_chain else None
    work = open_engine(
        database=database,
        clock=clock,
        hasher=keys,
        vault=ground.vault,
        spend=ground.spend,
        events=ground.events,
        own_account=ground.own_account,
        environ=os.environ,
        upstreams=settings.upstreams,
        embeddings=settings.cache_embeddings,
        own_prices=settings.own_prices,
        lease_s=settings.hold_lease_s,
        first_byte_s=settings.upstream_first_byte_s,
        deadline_s=settings.upstream_deadline_s,
    )
    authority = Mandates(database, ground.spend, clock, keys, settings.chain_id)
    catalog = Bazaar(database, clock, AgentCards(ground.web))
    hiring = open_hiring(ground, paid, authority, catalog)

    asked_at = ask_pricing(settings.ask_price, work.engine, usd_nanos(settings.least_payment_usd))
    skills = Skills([echo(), ask(work.engine, ground.own_account, asked_at), *map(sold, skills_in(settings.skills))])
    resource = f"{settings.url}/api/a2a"
    signs_in = auth.authenticator(ground.accounts, paid.sign_ins if paid else None, resource)
    told = About(ground.policies, settings.url)
    tasks = open_tasks(ground, skills, paid.task_gate if paid else None, resource, __version__, signs_in, told)
    wraps = [wrap_from_table(table, os.environ) for table in settings.wraps]
    wrapped = Wrapped(wraps, paid.http_gate if paid else None, settings.url)
    proofs = None
    if paid:
        calls = Calls(database, clock)
        proofs = Evidence(
            clock, keys, paid.chain, paid.assets, calls, authority, paid.task_gate, paid.journal, ground.events
        )

    @contextlib.asynccontextmanager
    async def serving(_: FastAPI) -> AsyncIterator[None]:
        rooms: list[Opened] = [ground, work, *([paid] if paid else []), tasks]
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(wrapped.close)
            for room in rooms:
                await stack.enter_async_context(room.running())
            stack.enter_context(scheduled([*hiring.ticks, *(tick for room in rooms for tick in room.ticks)]))
            yield

    app = FastAPI(title="agentnode", version=__version__, lifespan=serving, docs_url=None, redoc_url=None)
    errors.install(app)
    app.router.redirect_slashes = False  # to whatever `Host` says, and in clear where TLS ends before the node
    app.add_middleware(BoundedBodies, within_s=settings.client_stall_s)
    app.router.routes.extend(wrapped.routes())
    app.router.routes.extend(tasks.routes)  # before the nouns, each of which is tried in turn
    add_routes(app, ground, paid, work, hiring, authority, catalog, tasks.outbox, proofs)
    return app
