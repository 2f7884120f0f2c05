"""Answers out of the cache: whether one is asked for, and how it is counted and booked."""

from __future__ import annotations

from collections.abc import Sequence

from engine.cache import Asked, Cache, asked_of
from engine.completion import Completion
from engine.guard import Guard, Verdicts
from engine.options import Options
from engine.order import Order
from engine.routing import may_see
from engine.usage import Usage
from ledger.accounts import Policy
from ledger.clock import Clock
from ledger.errors import BudgetRefused
from ledger.spend import Spend


class CachedAnswers:
    def __init__(self, cache: Cache | None, spend: Spend, guard: Guard, clock: Clock) -> None:
        self._cache, self._spend, self._guard, self._clock = cache, spend, guard, clock

    def asked(self, order: Order) -> Asked | None:
        """What the cache is asked; None where it is not wanted or cannot know."""
        if not order.options.cache or self._cache is None:
            return None
        account, shows_to = order.account, self._cache.shows_to
        return asked_of(
            order.request,
            tenant_id=account.tenant_id,
            key_id=account.key_id,
            user=order.call.user,
            model_class=_model_class(order.request.wanted, order.options, account.policy),
            privacy_mode=order.call.privacy_mode,
            by_words=shows_to is None or may_see(shows_to, order.options, account.policy),
        )

    async def found(self, order: Order, asked: Asked) -> Completion | None:
        """A kept answer, counted as a request and booked at no cost. Raises RateLimitExceeded."""
        assert self._cache is not None
        counts = [take.budget_id for take in order.account.takes if take.how == "count"]
        if asked.words is not None and self._cache.shows_to is not None:
            await self._check_counts(counts)
        hit = await self._cache.find(asked)
        if hit is None:
            return None
        latency_ms = max(0, self._clock.now_us() - order.began_us) // 1_000
        event = order.event(
            "cache_hit",
            "allowed",
            provider=hit.provider,
            model=hit.model,
            evidence_status="present",
            latency_ms=latency_ms,
            trace={"cache": {"similarity": hit.similarity, "saved_usd_nanos": hit.saved_usd_nanos}},
        )
        try:
            await self._spend.record(event, counts=counts)
        except BudgetRefused as refusal:
            raise self._guard.refused(refusal, Verdicts()) from refusal
        return Completion(
            id=event.id,
            provider=hit.provider,
            model=hit.model,
            body=hit.body,
            usage=Usage(),
            cost_usd_nanos=0,
            latency_ms=latency_ms,
            provider_latency_ms=0,
            mode=order.options.mode,
            cached=True,
            saved_usd_nanos=hit.saved_usd_nanos,
        )

    async def _check_counts(self, counts: Sequence[str]) -> None:
        """Who may ask no more in this hour has nothing bought for: a hit and a miss would be refused alike."""
        for budget_id in counts:
            budget = await self._spend.budget(budget_id)
            if budget is not None and budget.room_usd_nanos < 1:
                raise self._guard.refused(BudgetRefused(budget_id, 1, 0), Verdicts())

    async def keep(self, order: Order, asked: Asked, completion: Completion) -> None:
        assert self._cache is not None
        await self._cache.keep(
            asked,
            completion.body,
            provider=completion.provider,
            model=completion.model,
            cost_usd_nanos=completion.cost_usd_nanos,
            ttl_s=order.options.cache_ttl_s,
        )


def _model_class(wanted: str | None, options: Options, policy: Policy) -> str:
    """Says who may answer: equal for equal wishes under equal policies, in every process."""
    lists = (policy.models.allow, policy.models.deny, policy.vendors.allow, policy.vendors.deny)
    chosen = (options.prefer_providers, options.exclude_providers, options.require_capabilities)
    names = [None if each is None else sorted(each) for each in (*lists, *chosen)]
    return repr([wanted, options.weights, names, options.min_context, options.prefer_tier, options.max_tier])
