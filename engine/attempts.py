"""The attempts of one request: each held and journaled before it leaves, and the next one where it may be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from engine.completion import Attempt, Call, Chunk, Completion
from engine.errors import UpstreamError
from engine.guard import Guard, Verdicts
from engine.metered import MeteredCall
from engine.options import Options
from engine.providers import Provider, Providers
from engine.request import CompletionRequest
from engine.routing import Leg, Ranking, Route, Wait
from ledger.accounts import Account, Policy
from ledger.clock import Clock
from ledger.errors import AgentNodeError, BudgetRefused
from ledger.money import MAX_USD_NANOS
from ledger.spend import Spend

RANKED_IN_TRACE = 5


def most_of(options: Options, policy: Policy | None) -> int:
    """What one call may cost: the caller's own limit, and the policy's."""
    own = MAX_USD_NANOS if options.max_cost_usd_nanos is None else options.max_cost_usd_nanos
    return own if policy is None else min(own, policy.limits.usd_nanos_per_request)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: the request, on whose account, what for, and how to choose."""

    request: CompletionRequest
    account: Account
    call: Call
    options: Options
    began_us: int


class Attempts:
    """`async for attempt in attempts: async with attempt: ...; return`: an attempt whose upstream failed is swallowed
    where another may follow it; what ends the request is raised."""

    def __init__(
        self,
        order: Order,
        ranking: Ranking,
        route: Route,
        *,
        spend: Spend,
        guard: Guard,
        providers: Providers,
        clock: Clock,
        lease_s: float,
    ) -> None:
        self.order, self.ranking, self.route = order, ranking, route
        self.made: list[Attempt] = []
        self.verdicts = Verdicts()
        self.spend, self.guard, self.providers = spend, guard, providers
        self.clock, self.lease_s = clock, lease_s

    async def __aiter__(self) -> AsyncIterator[Attempting]:
        while True:
            step = self.route.next_step()
            if isinstance(step, Wait):
                await asyncio.sleep(step.wait_s)
                continue
            yield Attempting(self, step)

    def trace(self) -> dict[str, Any]:
        """How it was decided, for the event: the best of the ranking, each layer's verdict, and what failed before."""
        trace = {"routing": self.ranking.as_dict(RANKED_IN_TRACE), "guard": self.verdicts.said}
        return trace | {"attempts": [each.as_dict() for each in self.made]} if self.made else trace


class Attempting:
    """One attempt. Within `async with` its call is held and may be sent; `metered` must be captured before the end."""

    metered: MeteredCall

    def __init__(self, attempts: Attempts, leg: Leg) -> None:
        self._attempts = attempts
        self.model, self.bound, self.timing = leg.candidate.model, leg.candidate.bound, leg.timing
        self._pause_s = leg.pause_s
        provider = attempts.providers.get(self.model.provider)
        assert provider is not None, self.model.id
        self.provider: Provider = provider
        self.sent_us = 0

    async def __aenter__(self) -> Attempting:
        """Raises the guard's refusals."""
        attempts, order = self._attempts, self._attempts.order
        guard, verdicts = attempts.guard, attempts.verdicts
        try:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            await guard.admit(order.account, self.bound, verdicts)
            takes = order.account.takes + guard.payers(order.account, self.model.test, verdicts)
            if attempts.made:
                takes = tuple(take for take in takes if take.how != "count")  # a request counts once
            self.metered = MeteredCall(
                *(attempts.spend, attempts.clock, self.model, self.bound, order.request, order.account, takes),
                *(order.call, attempts.trace(), attempts.lease_s, most_of(order.options, order.account.policy)),
            )
            await self.metered.__aenter__()
        except BudgetRefused as refusal:
            attempts.route.dropped()
            raise guard.refused(refusal, verdicts) from refusal
        except BaseException:
            attempts.route.dropped()
            raise
        guard.passed(order.account, self.bound)
        self.sent_us = attempts.clock.now_us()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        attempts, metered = self._attempts, self.metered
        await metered.__aexit__(kind, error, trace)
        if isinstance(error, UpstreamError):
            attempts.made.append(self._ended(error.code, metered.event_id if error.reached else None))
            attempts.route.failed(error)
            error.charge(sum(each.charged_usd_nanos for each in attempts.made))
            return True  # the route raises it where there is no other attempt
        if isinstance(error, AgentNodeError) and attempts.route.is_open:
            attempts.route.failed(error)
            return True
        if error is not None and attempts.route.is_open:
            attempts.route.dropped()
        return False

    def chunk(self, body: dict[str, Any], completion: Completion | None = None) -> Chunk:
        """The upstream's chunk under the id of the call's event."""
        body["id"] = self.metered.event_id
        return Chunk(body, self.model.provider, completion)

    def served(self) -> tuple[Attempt, ...]:
        """All attempts of the request, this one the last."""
        return (*self._attempts.made, self._ended("served", self.metered.event_id))

    def _ended(self, outcome: str, event_id: str | None) -> Attempt:
        charged = self.metered.charged_usd_nanos
        return Attempt(self.model.provider, self.model.id, outcome, event_id, charged)
