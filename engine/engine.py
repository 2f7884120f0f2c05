"""The engine: quote, complete, stream. Every call is bounded, held, journaled and priced before it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from engine.attempts import Attempts, OpenAttempt
from engine.cache import Asked, Cache
from engine.cached_answers import CachedAnswers
from engine.catalog import Catalog, Model
from engine.chunks import as_chunks
from engine.client_retries import ClientRetries
from engine.completion import Call, Chunk, Completion, Quote
from engine.errors import ModelUnknown
from engine.guard import Guard, bound
from engine.metered import LEASE_S
from engine.options import DEFAULTS, Options
from engine.order import Order, most_of
from engine.providers import Answer, Providers
from engine.relay import Relay
from engine.request import CompletionRequest
from engine.routing import Candidate, Ranking, Router
from ledger.accounts import Account
from ledger.clock import SECOND_US, Clock
from ledger.events import Events
from ledger.spend import Spend
from ledger.vault import Vault

FIRST_BYTE_S = 60.0
DEADLINE_S = 600.0


class Engine:
    """LLM work on account. Metadata only: no prompt and no answer is kept or logged here."""

    def __init__(
        self,
        spend: Spend,
        events: Events,
        vault: Vault,
        catalog: Catalog,
        providers: Providers,
        clock: Clock,
        *,
        cache: Cache | None = None,
        lease_s: float = LEASE_S,
        first_byte_s: float = FIRST_BYTE_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._spend, self._catalog, self._providers, self._clock = spend, catalog, providers, clock
        self._router = Router(clock)
        self._guard = Guard(spend, events, clock)
        self._cached = CachedAnswers(cache, spend, self._guard, clock)
        self._retries = ClientRetries(spend, events, vault, clock)
        self._lease_s, self._first_byte_s, self._deadline_us = lease_s, first_byte_s, int(deadline_s * SECOND_US)

    async def quote(self, request: CompletionRequest, options: Options = DEFAULTS) -> Quote:
        """What the request can cost at most, and with whom.

        Raises ModelUnknown for a model that no catalog prices, ModelUnavailable where nothing here can serve it,
        NoModelServes where none does what is asked.
        """
        ranking = self._ranked(request, options, None)
        if not ranking.chosen:
            raise ranking.refusal()
        first = ranking.chosen[0].candidate
        return Quote(
            bound_usd_nanos=first.bound.usd_nanos,
            model=first.model.id,
            provider=first.model.provider,
            price_version=first.model.price.version,
            candidates=tuple(each.candidate for each in ranking.chosen),
        )

    def explain(self, request: CompletionRequest, options: Options, account: Account) -> dict[str, Any]:
        """The whole ranking as `complete` would make it now, with each part of each score. Raises ModelUnknown."""
        ranked = self._ranked(request, options, account).as_dict()
        return {"object": "route_explanation", **ranked, "breakers": self._router.breakers.as_dict()}

    async def complete(
        self, request: CompletionRequest, account: Account, call: Call, options: Options = DEFAULTS
    ) -> Completion:
        """The whole answer, captured. Raises what `quote` does, the guard's refusals, and UpstreamError leaves."""
        order = Order(request, account, call, options, self._clock.now_us())
        with self._retries.at_work(order):
            asked = self._cached.asked(order)
            if asked is not None and (hit := await self._cached.found(order, asked)) is not None:
                return hit
            async with self._attempts(order) as attempts:
                async for attempt in attempts:
                    async with attempt:
                        answer = await attempt.answer()
                        return await self._completed(order, asked, attempt, answer)
        raise AssertionError("a route ends by an answer or an error")

    async def stream(
        self, request: CompletionRequest, account: Account, call: Call, options: Options = DEFAULTS
    ) -> AsyncGenerator[list[Chunk], None]:
        """The answer in chunks, those that came together handed on together. The very last one comes after the
        capture and carries the completion.

        Raises what `complete` does. An answer that breaks off raises an UpstreamError with `charged_usd_nanos`, and
        closing the generator (or cancelling who iterates) stops the upstream and captures what was produced.
        """
        order = Order(request, account, call, options, self._clock.now_us())
        with self._retries.at_work(order):
            asked = self._cached.asked(order)
            if asked is not None and (hit := await self._cached.found(order, asked)) is not None:
                yield as_chunks(hit)
                return
            async with self._attempts(order) as attempts:
                async for attempt in attempts:
                    async with attempt, contextlib.aclosing(attempt.arrivals()) as arrivals:
                        relay = Relay(request.choices)
                        async for pieces in arrivals:
                            await attempt.saw(relay.read(pieces))
                            if ready := relay.ready():
                                yield attempt.chunks(ready)
                        completion = await self._completed(order, asked, attempt, relay.answer())
                        yield attempt.chunks(relay.rest(), completion)
                        return

    async def joined(self, account: Account, call: Call) -> Completion | None:
        """What became of an equal request that was sent before, within the time that answers are kept: its answer,
        once it has one.

        None where there was none, or it came to nothing. Raises RequestInProgress where it takes too long.
        """
        if call.retry_key is None:
            return None
        return await self._retries.joined(account.tenant_id, call.retry_key, call.keep_s)

    async def close(self) -> None:
        await self._providers.close()

    def models(self) -> list[Model]:
        """All models that can be called here, by id."""
        now_us = self._clock.now_us()
        return [model for name in self._providers.names for model in self._catalog.models(name, now_us)]

    def _attempts(self, order: Order) -> Attempts:
        """Raises where nobody here can serve it."""
        ranking = self._ranked(order.request, order.options, order.account)
        route = self._router.route(ranking, order.began_us + self._deadline_us, self._first_byte_s)
        return Attempts(
            *(order, ranking, route),
            spend=self._spend,
            guard=self._guard,
            providers=self._providers,
            clock=self._clock,
            lease_s=self._lease_s,
        )

    def _ranked(self, request: CompletionRequest, options: Options, account: Account | None) -> Ranking:
        policy = account.policy if account else None
        most = most_of(options, policy)
        candidates = [Candidate(model, bound(request, model, most)) for model in self._named(request)]
        return self._router.rank(
            candidates,
            request,
            options,
            policy,
            missing_keys=self._providers.missing_keys,
            test_money=account is not None and account.has_only_test_money,
        )

    def _named(self, request: CompletionRequest) -> Sequence[Model]:
        if request.wanted is None:
            return [model for model in self.models() if model.capabilities is not None]
        named = self._catalog.named(request.wanted, self._clock.now_us())
        if not named:
            raise ModelUnknown(f"no price is known for the model {request.wanted}, so it is not called")
        return named

    async def _completed(self, order: Order, asked: Asked | None, attempt: OpenAttempt, answer: Answer) -> Completion:
        """Captures the call, and keeps its answer for those who ask again."""
        attempt.answered(answer.usage)
        kept = await self._retries.kept(order, attempt.metered.event_id, answer.body)
        charged = await attempt.metered.capture(answer.usage, kept)
        model = attempt.model
        completion = Completion(
            id=attempt.metered.event_id,
            provider=model.provider,
            model=model.id,
            body=answer.body,
            usage=charged.usage,
            cost_usd_nanos=charged.cost_usd_nanos,
            latency_ms=max(0, self._clock.now_us() - order.began_us) // 1_000,
            provider_latency_ms=attempt.took_us // 1_000,
            mode=order.options.mode,
            attempts=attempt.served(),
            estimated=charged.estimated,
            overrun_usd_nanos=charged.overrun_usd_nanos,
            shares=charged.shares,
            max_tokens=attempt.metered.limit.max_tokens if order.request.max_tokens is None else None,
        )
        if asked is not None:
            await self._cached.keep(order, asked, completion)
        return completion
