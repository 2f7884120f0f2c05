"""A small world for engine tests: a ledger with one budget, an engine over it, and the upstream `mock`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine import Call, Catalog, Completion, CompletionRequest, Engine, Options, Providers, Upstream, UpstreamModel
from engine.providers import Anthropic, Embedder, OfflineProvider, OpenAICompatible, Piece
from ledger.accounts import DEFAULT_LIMITS, Account, Policy
from ledger.clock import Clock, SystemClock
from ledger.database import Database
from ledger.events import EconomicEvent, Events
from ledger.money import MAX_USD_NANOS, NANOS_PER_USD
from ledger.spend import Budget, NewBudget, Spend, Take, share, whole
from ledger.vault import Vault
from tests.ledger.parts import MemoryKey

MODEL = UpstreamModel("m1", input_nanos_per_mtok=150_000_000, output_nanos_per_mtok=600_000_000, max_output=4_096)
ONE_USD = NANOS_PER_USD
ONCE = Options(failover=False)
"""One attempt only, so that what becomes of it can be seen."""


OPEN = Policy(DEFAULT_LIMITS, billing="open")


def account(*budgets: str | Take, policy: Policy = OPEN) -> Account:
    """Of a tenant with these caps, whose operator pays."""
    takes = tuple(whole(budget) if isinstance(budget, str) else budget for budget in budgets)
    return Account("tenant", "key", None, policy, takes, (share("open:tenant"),), ())


def ask(
    text: str, *, model: str | None = "mock/m1", max_tokens: int | None = None, **options: Any
) -> CompletionRequest:
    return CompletionRequest([{"role": "user", "content": text}], model, max_tokens, options)


def finishes(piece: Piece) -> bool:
    return any(choice.get("finish_reason") for choice in piece.choices)


@dataclass
class World:
    engine: Engine
    spend: Spend
    events: Events
    account: Account

    async def complete(self, request: CompletionRequest) -> Completion:
        return await self.engine.complete(request, self.account, Call("req_1"), ONCE)

    async def budget(self) -> Budget:
        budget = await self.spend.budget("budget")
        assert budget is not None
        return budget

    async def rows(self) -> Sequence[EconomicEvent]:
        return (await self.events.list(self.account.tenant_id)).events


@contextlib.asynccontextmanager
async def built(
    database: Database,
    api: str,
    *,
    owner: str = "test",
    quiet_timeout_s: float = 30,
    lease_s: float = 120,
    spends: type[Spend] = Spend,
    others: Sequence[Upstream] = (),
    key: MemoryKey | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[World]:
    clock = clock or SystemClock()
    spend = spends(database, clock, owner)
    await spend.start()
    await spend.open_budget(NewBudget("budget", "tenant", "session", ONE_USD))
    await spend.open_budget(NewBudget("open:tenant", "tenant", "open", MAX_USD_NANOS))
    events, vault = Events(database), Vault(database, clock, key or MemoryKey())
    mock = Upstream("mock", api, models=(MODEL,))
    adapters = [(Anthropic if other.api == "anthropic" else OpenAICompatible)(other, None) for other in others]
    providers = Providers([OfflineProvider(Embedder()), OpenAICompatible(mock, None, quiet_timeout_s), *adapters])
    models = Catalog.load([mock, *others])
    engine = Engine(spend, events, vault, models, providers, clock, lease_s=lease_s)
    try:
        yield World(engine, spend, events, account("budget"))
    finally:
        await engine.close()
        await spend.close()
