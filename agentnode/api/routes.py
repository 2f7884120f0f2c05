"""All that the node serves over HTTP but A2A: one line a noun."""

from __future__ import annotations

import functools

from fastapi import FastAPI

from agentnode.api import (
    auth,
    bazaar,
    cache,
    chat,
    credits,
    devchain,
    evidence,
    explain,
    facilitator,
    health,
    keys,
    mandates,
    models,
    payments,
    policy,
    providers,
    push_deliveries,
    receipts,
    sessions,
    sign_in,
    tenants,
)
from agentnode.api.top_up import TopUp
from agentnode.evidence.charges import Charges
from agentnode.evidence.collect import Evidence
from agentnode.ground import Ground
from agentnode.hire import Hiring
from agentnode.payments import Overview
from agentnode.payments.assembly import Payments
from bazaar import Bazaar
from engine import Fulfilment
from ledger.money import usd_nanos
from ledger.work import Outbox
from mandates import Mandates


def add_routes(
    app: FastAPI,
    ground: Ground,
    paid: Payments | None,
    work: Fulfilment,
    hiring: Hiring,
    authority: Mandates,
    catalog: Bazaar,
    outbox: Outbox,
    proofs: Evidence | None,
) -> None:
    settings, accounts, book, idempotency = ground.settings, ground.accounts, ground.book, ground.idempotency
    needs, gate, pay_per_call = auth.needs(accounts), paid.http_gate if paid else None, None
    top_up = TopUp(gate, settings.url)
    serve = chat.Serving(work.engine, hiring.chat, settings.client_stall_s)
    if gate:
        least = usd_nanos(settings.least_payment_usd)
        pay_per_call = chat.PayPerCall(gate, work.engine, serve, book, settings.url, least)
    completions = chat.ChatCompletions(
        *(serve, accounts, book, ground.sessions, chat.FirstReplies(idempotency), pay_per_call),
        client_stall_s=settings.client_stall_s,
    )
    app.router.routes.extend(chat.routes(completions))
    checks = health.checks(ground.database, paid.chain if paid else None, work.providers)
    caller_of = functools.partial(auth.caller_of, accounts)
    for router in (
        health.router(app.version, checks, ground.keys.jwks),
        explain.router(work.engine, ground.events, book, needs),
        tenants.router(accounts, ground.policies, needs),
        keys.router(accounts, ground.policies, needs),
        policy.router(ground.policies, needs),
        sessions.router(ground.sessions, idempotency, ground.clock, top_up, needs),
        credits.router(ground.credits, idempotency, top_up, needs),
        mandates.router(authority, needs),
        bazaar.router(catalog, hiring.buyer, idempotency, needs),
        cache.router(work.answers, needs),
        models.router(work.models),
        providers.router(work.models, needs),
        facilitator.router(paid),
        payments.router(paid, settings.url, Overview(ground.database, ground.clock), needs, caller_of),
        push_deliveries.router(outbox, needs),
        receipts.router(paid, settings.url, Charges(ground.events, ground.keys, work.models)),
        sign_in.router(paid, settings.url),
        evidence.router(proofs, needs),
        *([devchain.router(settings.rpc_url)] if settings.chain == "embedded" else []),
    ):
        app.include_router(router)
