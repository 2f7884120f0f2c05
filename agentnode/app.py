"""The wiring: what exists, who knows whom, and in which order things start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from agentnode import __version__, ticking
from agentnode.a2a import Skills, TaskRuntime, agent_card, ask, ask_pricing, echo, routes, security_schemes, sold
from agentnode.api import (
    about,
    auth,
    bazaar,
    bodies,
    cache,
    completions,
    devchain,
    errors,
    evidence,
    facilitator,
    health,
    keyed,
    mandates,
    payments,
    pushed,
    receipts,
    requests,
    served,
    sign_in,
    till,
)
from agentnode.api.accounts import account_routers
from agentnode.api.counter import Counter
from agentnode.api.models import router as models_router
from agentnode.api.providers import router as providers_router
from agentnode.evidence.charges import Charges
from agentnode.evidence.collect import Evidence
from agentnode.hire import AgentCards, Calls, CardKeys, ChatBuyer, open_buyer
from agentnode.migrations import LOCATIONS
from agentnode.payments import Overview
from agentnode.payments.assembly import open_payments
from agentnode.payments.shop import open_shop
from agentnode.push import PushConfigs, PushSender
from agentnode.sell import Wrapped, skills_in, wrap_from_table
from agentnode.settings import Settings
from bazaar import Bazaar
from engine import (
    Cache,
    Catalog,
    Embedder,
    Engine,
    Models,
    Providers,
    UpstreamVectors,
    embeddings_from_table,
    upstream_from_table,
    with_known,
)
from ledger.accounts import OPERATOR, Account, AccountBook, Accounts, Caller, Credits, Leftovers, Policies, Sessions
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import Events
from ledger.ids import new_id
from ledger.money import usd_nanos
from ledger.spend import Spend, Sweeper
from ledger.vault import Vault
from ledger.work import Claims, Idempotency, Outbox, Rates
from mandates import Mandates
from trust.keys import NodeKeys
from trust.keystore import Keystore, open_password
from trust.web import GuardedClient


async def build(settings: Settings, on_point: Callable[[str], None] = lambda name: None) -> FastAPI:
    """Everything once, from the ledger up. `on_point` hears each point of the journals: crash tests listen there."""
    clock, owner = SystemClock(), new_id("proc")
    database = Database(settings.database)
    await database.upgrade(LOCATIONS)
    password, _ = open_password(settings.data, settings.over(os.environ))
    keys = NodeKeys.open(settings.data / "keys", password)
    wallets = Keystore(settings.data / "wallets", password)
    web = GuardedClient(settings.reachable_nets)

    spend, events = Spend(database, clock, owner), Events(database)
    accounts, vault = Accounts(database, clock, keys), Vault(database, clock, keys)
    book = AccountBook(database, clock, settings.default_limits, usd_nanos(settings.promotion_usd_per_day))
    policies = Policies(database, clock, book, settings.default_limits)
    sessions = Sessions(database, clock, book, settings.has_test_money)
    credits = Credits(database, clock, book, settings.has_test_money)
    claims, idempotency = Claims(database, clock, owner), Idempotency(database, clock, vault)
    paid = None
    if settings.has_chain:
        paid = await open_payments(settings, database, clock, claims, keys, wallets, spend, events, on_point)

    upstreams = with_known([upstream_from_table(table) for table in settings.upstreams], os.environ)
    embedder = Embedder()
    providers = Providers.from_environment(os.environ, upstreams, embedder)
    priced = Catalog.load(upstreams, settings.own_prices)

    async def own_account() -> Account:
        return await book.open(Caller(OPERATOR, None, frozenset()))

    vectors = None
    if settings.cache_embeddings:
        terms = embeddings_from_table(settings.cache_embeddings)
        vectors = UpstreamVectors(terms, os.environ, spend, clock, own_account)
    answers = Cache(database, clock, vault, keys, embedder, vectors)
    engine = Engine(
        *(spend, events, vault, priced, providers, clock),
        cache=answers,
        lease_s=settings.hold_lease_s,
        first_byte_s=settings.upstream_first_byte_s,
        deadline_s=settings.upstream_deadline_s,
    )

    asked_at = ask_pricing(settings.ask_price, engine, usd_nanos(settings.least_payment_usd))
    skills = Skills([echo(), ask(engine, own_account, asked_at), *map(sold, skills_in(settings.skills))])
    gate = paid.gate if paid else None
    outbox = Outbox(database, clock, "push", Rates(settings.push_per_minute, settings.push_per_minute_to_host))
    pushes = PushConfigs(database, vault, clock, outbox, web)
    resource = f"{settings.url}/api/a2a"
    runtime = TaskRuntime(database, vault, clock, idempotency, owner, gate, skills, resource, pushes)
    sender = PushSender(outbox, pushes, web, clock, keys, runtime.telling.body)
    authority = Mandates(database, spend, clock, keys, settings.chain_id)
    catalog = Bazaar(database, clock, AgentCards(web))
    buyer = open_buyer(
        database=database,
        clock=clock,
        spend=spend,
        mandates=authority,
        bazaar=catalog,
        web=web,
        card_keys=CardKeys(web, settings.card_keys, on_embedded_chain=settings.has_test_money),
        wallets=wallets,
        chain=paid.chain if paid else None,
        asset=paid.asset if paid else None,
        day_of=book.day,
        reorg_margin_s=settings.reorg_margin_s,
        compliance=paid.compliance if paid else None,
        on_point=on_point,
    )
    proofs = None
    if paid:
        calls = Calls(database, clock)
        proofs = Evidence(clock, keys, paid.chain, paid.asset, calls, authority, paid.gate, paid.journal, events)

    @contextlib.asynccontextmanager
    async def serving(_: FastAPI) -> AsyncIterator[None]:
        await spend.start()
        if paid:
            await paid.reconciler.start()
        await runtime.start()
        pushing = asyncio.create_task(sender.run())
        settling = asyncio.create_task(paid.run()) if paid else None
        reconciling: tuple[ticking.Tick, ...] = ()
        if paid:
            reconciling = (
                (5, paid.reconciler.tick),
                (60, paid.routes.refresh),
                (60, paid.refunds.go_on),
                (600, paid.gate.forget_unpaid),
            )
        if shop:
            reconciling = (*reconciling, (600, shop.sign_ins.forget))
        ticks = (
            *reconciling,
            (5, Sweeper(database, spend, clock).sweep),
            (2, buyer.settle_open_calls),
            (5, answers.flush),
            (60, answers.delete_ended),
            (600, vault.delete_ended),
            (600, Leftovers(database, clock).give_back),
            (3600, outbox.forget),
        )
        with ticking.scheduled(ticks):
            yield
        await runtime.close()
        pushing.cancel()
        await asyncio.wait([pushing])
        if paid and settling:
            settling.cancel()
            await asyncio.wait([settling])
            await paid.close()
        await answers.close()
        await spend.close()
        await engine.close()
        await wrapped.close()
        await web.aclose()
        await database.close()

    app = FastAPI(title="agentnode", version=__version__, lifespan=serving, docs_url=None, redoc_url=None)
    errors.install(app)
    app.add_middleware(bodies.BoundedBodies)
    needs = auth.needs(accounts)
    checks = health.checks(database, paid.chain if paid else None, providers)
    app.include_router(health.router(__version__, checks, keys.jwks))
    serve, counter = served.Served(engine, ChatBuyer(catalog, buyer, clock), settings.client_stall_s), None
    shop = open_shop(paid, database, clock, keys, vault, spend, settings.x402_offer_receipt) if paid else None
    if shop:
        counter = till.Till(shop.toll, engine, serve, book, settings.url, usd_nanos(settings.least_payment_usd))
    toll, to_wrap = shop.toll if shop else None, [wrap_from_table(table, os.environ) for table in settings.wraps]
    wrapped = Wrapped(to_wrap, toll, settings.url)
    app.router.routes.extend(wrapped.routes())
    serves = completions.Completions(
        *(serve, accounts, book, sessions, keyed.Keyed(idempotency), counter), client_stall_s=settings.client_stall_s
    )
    app.router.routes.extend(completions.routes(serves))
    app.include_router(requests.router(engine, events, book, needs))
    desk = Counter(toll, settings.url)
    for router in account_routers(accounts, policies, sessions, credits, idempotency, desk, clock, needs):
        app.include_router(router)
    app.include_router(mandates.router(authority, needs))
    app.include_router(bazaar.router(catalog, buyer, idempotency, needs))
    app.include_router(cache.router(answers, needs))
    models = Models(priced, providers, upstreams, clock)
    app.include_router(models_router(models))
    app.include_router(providers_router(models, needs))
    app.include_router(facilitator.router(paid.front if paid else None))
    sign_ins = shop.sign_ins if shop else None
    app.include_router(
        payments.router(
            gate,
            paid.refunds if paid else None,
            sign_ins,
            settings.url,
            Overview(database, clock),
            needs,
            functools.partial(auth.caller_of, accounts),
        )
    )
    app.include_router(pushed.router(outbox, needs))
    charges = Charges(events, keys, models)
    app.include_router(receipts.router(shop.standings if shop else None, sign_ins, settings.url, charges))
    app.include_router(sign_in.router(sign_ins, resource))
    app.include_router(evidence.router(proofs, needs))
    if settings.chain == "embedded":
        app.include_router(devchain.router(settings.rpc_url))
    schemes = security_schemes(settings.url, signs_in=sign_ins is not None)
    card = agent_card(settings.name, settings.description, __version__, settings.url, skills, schemes, extended=True)
    authenticate = auth.authenticator(accounts, sign_ins, resource)
    told = about.About(policies, settings.url)
    app.router.routes.extend(routes(runtime, card, authenticate, clock.now_us(), keys.sign, told))
    return app
