"""The guard: what is checked of a call before it is held, and what its refusal is called. Fail-closed."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Protocol

from engine.errors import CostAnomalous, FundsInsufficient, RequestTooExpensive
from engine.guard.anomaly import MIN_SAMPLES, Costs, is_anomalous
from engine.guard.bounds import Bound
from engine.guard.layers import Layer, Verdicts, error_of, layer_of
from ledger.accounts import Account
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError, BudgetRefused
from ledger.events import EconomicEvent
from ledger.money import usd_exact
from ledger.spend import Spend, Take

_MANY_TENANTS = 10_000
MOST_BOOKED = 60
"""Refusals of a tenant that are booked in a minute: an agent that asks on without money must not fill the disk."""


class PastCalls(Protocol):
    """The tenant's latest events, from which a process that has just started learns what is usual."""

    async def latest(self, tenant_id: str, kind: str, limit: int) -> Sequence[EconomicEvent]: ...


class Guard:
    """Rate, day, concurrency and budgets are refused by the ledger, in the transaction that would hold them; what
    one request costs is judged here. Where several would refuse, the first layer in order is the one that is named.
    """

    def __init__(self, spend: Spend, past: PastCalls, clock: Clock) -> None:
        self._spend, self._past, self._clock = spend, past, clock
        self._costs: OrderedDict[str, Costs] = OrderedDict()
        self._minute, self._booked = 0, Counter[str]()

    async def admit(self, account: Account, bound: Bound, verdicts: Verdicts) -> None:
        """Judges what the call can cost. Raises CostAnomalous (only where the policy is hard), RequestTooExpensive,
        and before these what an earlier layer would refuse. Raises DatabaseUnavailable.
        """
        limit = account.policy.limits.usd_nanos_per_request
        costs = self._costs.get(account.tenant_id) or await self._learned(account.tenant_id)
        if is_anomalous(costs, bound.usd_nanos):
            verdicts.flag("anomaly", "flagged")
            if account.policy.anomaly == "hard":
                problem = f"{usd_exact(bound.usd_nanos)} USD is far more than this tenant's requests cost; split it up"
                raise await self._first_refusal(account, bound, "anomaly", CostAnomalous(problem), verdicts)
        if bound.usd_nanos > limit:
            asked, most = usd_exact(bound.usd_nanos), usd_exact(limit)
            problem = (
                f"it can cost {asked} USD and one request may cost {most}; lower max_tokens, or name a cheaper model"
            )
            raise await self._first_refusal(account, bound, "request", RequestTooExpensive(problem), verdicts)

    def payers(self, account: Account, test: bool, verdicts: Verdicts) -> tuple[Take, ...]:
        """Who pays. Raises FundsInsufficient where nothing can pay at an upstream of this kind."""
        payers = account.payers(test)
        if not payers:
            verdicts.refuse("budget")
            raise FundsInsufficient("there is nothing that can pay for this; buy credits or fund the session")
        return payers

    def refused(self, refusal: BudgetRefused, verdicts: Verdicts) -> AgentNodeError:
        """The error for a budget that had no room."""
        verdicts.refuse(layer_of(refusal.budget_id))
        return error_of(refusal, self._clock.now_us())

    def passed(self, account: Account, bound: Bound) -> None:
        """Remembers what a call that went out could cost."""
        costs = self._costs.pop(account.tenant_id, Costs())
        self._costs[account.tenant_id] = costs.with_cost(bound.usd_nanos)
        if len(self._costs) > _MANY_TENANTS:
            self._costs.popitem(last=False)

    def books_refusal(self, tenant_id: str) -> bool:
        """Whether one more of the tenant's refusals is booked in this minute."""
        minute = self._clock.now_us() // (60 * SECOND_US)
        if minute != self._minute:
            self._minute, self._booked = minute, Counter()
        self._booked[tenant_id] += 1
        return self._booked[tenant_id] <= MOST_BOOKED

    async def _learned(self, tenant_id: str) -> Costs:
        costs = Costs()
        for event in reversed(await self._past.latest(tenant_id, "engine_call", MIN_SAMPLES * 2)):
            if "purpose" not in event.trace:  # what the node buys for itself is no request
                costs = costs.with_cost(int(event.trace.get("bound_usd_nanos") or 1))
        return self._costs.setdefault(tenant_id, costs)

    async def _first_refusal(
        self, account: Account, bound: Bound, layer: Layer, error: AgentNodeError, verdicts: Verdicts
    ) -> AgentNodeError:
        for take in account.takes:
            if layer_of(take.budget_id) == "budget":
                break
            budget = await self._spend.budget(take.budget_id)
            asked = bound.least_usd_nanos if take.how == "whole" else 1
            if budget is not None and budget.room_usd_nanos < asked:
                return self.refused(BudgetRefused(take.budget_id, asked, budget.room_usd_nanos), verdicts)
        verdicts.refuse(layer)
        return error
