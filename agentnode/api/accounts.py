"""The routes of who may spend from what: tenants, keys, policies, sessions, credits."""

from __future__ import annotations

from fastapi import APIRouter

from agentnode.api import credits, keys, policy, sessions, tenants
from agentnode.api.auth import Needs
from agentnode.api.counter import Counter
from ledger.accounts import Accounts, Credits, Policies, Sessions
from ledger.clock import Clock
from ledger.work import Idempotency


def account_routers(
    accounts: Accounts,
    policies: Policies,
    own_sessions: Sessions,
    own_credits: Credits,
    idempotency: Idempotency,
    counter: Counter,
    clock: Clock,
    needs: Needs,
) -> list[APIRouter]:
    return [
        tenants.router(accounts, policies, needs),
        keys.router(accounts, policies, needs),
        policy.router(policies, needs),
        sessions.router(own_sessions, idempotency, clock, counter, needs),
        credits.router(own_credits, idempotency, counter, needs),
    ]
