"""The engine: quote, complete, stream. Every call is bounded, held, journaled and priced before it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import orjson

from engine.attempts import Attempting, Attempts, Order, most_of
from engine.cache import Asked, Cache, asked_of
from engine.catalog import Catalog, Model
from engine.completion import Call, Chunk, Completion, Quote
from engine.errors import ModelUnknown, RateLimitExceeded, TooManyConcurrent
from engine.folding import as_chunks, folded
from engine.guard import Guard, Verdicts, bound
from engine.metered import LEASE_S, Settled
from engine.options import DEFAULTS, Options
from engine.providers import Piece, Providers
from engine.replies import Replies
from engine.request import CompletionRequest
from engine.routing import Candidate, Ranking, Router, may_see
from engine.usage import Usage
from ledger.accounts import Account, Policy
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError, BudgetRefused, Unavailable
from ledger.events import EventDraft, Events
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
        router: Router | None = None,
        lease_s: float = LEASE_S,
        first_byte_s: float = FIRST_BYTE_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._spend, self._catalog, self._providers, self._clock = spend, catalog, providers, clock
        self._cache, self._router = cache, router or Router(clock)
        self._guard = Guard(spend, events, clock)
        self._replies = Replies(spend, events, vault, clock)
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
        with self._replies.at_work(order):
            asked = self._asked(order)
            if asked is not None and (hit := await self._from_cache(order, asked)) is not None:
                return hit
            attempts = self._attempts(order)
            try:
                async for attempt in attempts:
                    async with attempt:
                        limit = attempt.metered.limit.max_tokens
                        answer = await attempt.provider.complete(attempt.model, request, limit, attempt.timing)
                        provider_us = self._clock.now_us() - attempt.sent_us
                        output_tokens = answer.usage.completion_tokens if answer.usage else 0
                        attempts.route.answered(took_ms=provider_us / 1_000, output_tokens=output_tokens)
                        for choice in answer.choices:
                            attempt.metered.saw(_size(choice["message"]))
                        kept = await self._replies.kept(order, attempt.metered.event_id, answer.body)
                        settled = await attempt.metered.capture(answer.usage, kept)
                        return await self._completed(order, asked, attempt, answer.body, settled, provider_us)
            except AgentNodeError as error:
                await self._refused(order, attempts, error)
                raise
        raise AssertionError("a route ends by an answer or an error")

    async def stream(
        self, request: CompletionRequest, account: Account, call: Call, options: Options = DEFAULTS
    ) -> AsyncGenerator[Chunk, None]:
        """The answer in chunks; the last one is sent after the capture and carries the completion.

        Raises what `complete` does. An answer that breaks off raises an UpstreamError with `charged_usd_nanos`, and
        closing the generator (or cancelling who iterates) stops the upstream and captures what was produced.
        """
        order = Order(request, account, call, options, self._clock.now_us())
        with self._replies.at_work(order):
            asked = self._asked(order)
            if asked is not None and (hit := await self._from_cache(order, asked)) is not None:
                for chunk in as_chunks(hit):
                    yield chunk
                return
            attempts = self._attempts(order)
            try:
                async for attempt in attempts:
                    async with attempt, contextlib.aclosing(self._relayed(order, asked, attempts, attempt)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                        return
            except AgentNodeError as error:
                await self._refused(order, attempts, error)
                raise

    async def joined(self, account: Account, call: Call) -> Completion | None:
        """What became of an equal request that was sent before, within the time that answers are kept: its answer,
        once it has one.

        None where there was none, or it came to nothing. Raises RequestInProgress where it takes too long.
        """
        if call.retry_key is None:
            return None
        return await self._replies.joined(account.tenant_id, call.retry_key, call.keep_s)

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
        missing = self._providers.missing_keys
        return self._router.rank(candidates, request, options, policy, missing_keys=missing)

    def _named(self, request: CompletionRequest) -> Sequence[Model]:
        if request.wanted is None:
            return [model for model in self.models() if model.capabilities is not None]
        named = self._catalog.named(request.wanted, self._clock.now_us())
        if not named:
            raise ModelUnknown(f"no price is known for the model {request.wanted}, so it is not called")
        return named

    async def _relayed(
        self, order: Order, asked: Asked | None, attempts: Attempts, attempt: Attempting
    ) -> AsyncGenerator[Chunk, None]:
        """Passes an upstream's stream on. Nothing is passed before its first token: until then others may serve."""
        metered, request = attempt.metered, order.request
        held: list[Piece] = []  # what is not passed on yet: all before the first token, and from the finish on
        said: list[dict[str, Any]] = []
        usage: Usage | None = None
        stated: Any = None
        finished, first_token_us = 0, 0
        pieces = attempt.provider.stream(attempt.model, request, metered.limit.max_tokens, attempt.timing)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if piece.usage is not None:
                    usage, stated = piece.usage, piece.chunk.get("usage")
                size = 0
                for choice in piece.choices:
                    size += _size(choice["delta"])
                    finished += 1 if choice.get("finish_reason") else 0
                metered.saw(size)
                if metered.floor_is_old:
                    await metered.raise_floor()
                if piece.choices:
                    held.append(piece)
                    said += piece.choices
                if size and not first_token_us:
                    first_token_us = self._clock.now_us()
                    attempts.route.began()
                if first_token_us and finished < request.choices:
                    for each in held:
                        yield attempt.chunk(each.chunk)
                    held.clear()
        provider_us = self._clock.now_us() - attempt.sent_us
        attempts.route.answered(
            took_ms=provider_us / 1_000,
            output_tokens=usage.completion_tokens if usage else 0,
            first_token_ms=max(0, first_token_us - attempt.sent_us) / 1_000 if first_token_us else None,
        )
        body = folded(held[-1].chunk, said, stated)
        kept = await self._replies.kept(order, metered.event_id, body)
        settled = await metered.capture(usage, kept)
        completion = await self._completed(order, asked, attempt, body, settled, provider_us)
        *others, last = held
        for piece in others:
            yield attempt.chunk(piece.chunk)
        yield attempt.chunk(last.chunk, completion)

    async def _completed(
        self,
        order: Order,
        asked: Asked | None,
        attempt: Attempting,
        body: dict[str, Any],
        settled: Settled,
        provider_us: int,
    ) -> Completion:
        request, model = order.request, attempt.model
        completion = Completion(
            id=attempt.metered.event_id,
            provider=model.provider,
            model=model.id,
            body=body,
            usage=settled.usage,
            cost_usd_nanos=settled.cost_usd_nanos,
            latency_ms=max(0, self._clock.now_us() - order.began_us) // 1_000,
            provider_latency_ms=max(0, provider_us) // 1_000,
            mode=order.options.mode,
            attempts=attempt.served(),
            estimated=settled.estimated,
            overrun_usd_nanos=settled.overrun_usd_nanos,
            shares=settled.shares,
            max_tokens=attempt.metered.limit.max_tokens if request.max_tokens is None else None,
        )
        if asked is not None and self._cache is not None:
            await self._cache.keep(
                asked,
                body,
                provider=model.provider,
                model=model.id,
                cost_usd_nanos=settled.cost_usd_nanos,
                ttl_s=order.options.cache_ttl_s,
            )
        return completion

    def _asked(self, order: Order) -> Asked | None:
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

    async def _from_cache(self, order: Order, asked: Asked) -> Completion | None:
        """A kept answer, counted as a request and booked at no cost. Raises RateLimitExceeded."""
        assert self._cache is not None
        hit = await self._cache.find(asked)
        if hit is None:
            return None
        account, call = order.account, order.call
        event = EventDraft(
            kind="cache_hit",
            tenant_id=account.tenant_id,
            key_id=account.key_id,
            session_id=account.session_id,
            request_id=call.request_id,
            provider=hit.provider,
            model=hit.model,
            decision="allowed",
            evidence_status="present",
            latency_ms=max(0, self._clock.now_us() - order.began_us) // 1_000,
            attribution=call.attribution,
            privacy_mode=call.privacy_mode,
            trace={"cache": {"similarity": hit.similarity, "saved_usd_nanos": hit.saved_usd_nanos}},
        )
        counts = [take.budget_id for take in account.takes if take.how == "count"]
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
            latency_ms=max(0, self._clock.now_us() - order.began_us) // 1_000,
            provider_latency_ms=0,
            mode=order.options.mode,
            cached=True,
            saved_usd_nanos=hit.saved_usd_nanos,
        )

    async def _refused(self, order: Order, attempts: Attempts, error: AgentNodeError) -> None:
        """Books a refusal of the guard with its trace, for who asks why. Floods are not booked."""
        if "refused" not in attempts.verdicts.said.values() or isinstance(error, RateLimitExceeded | TooManyConcurrent):
            return
        account, call = order.account, order.call
        if not self._guard.books_refusal(account.tenant_id):
            return
        event = EventDraft(
            kind="refusal",
            tenant_id=account.tenant_id,
            key_id=account.key_id,
            session_id=account.session_id,
            request_id=call.request_id,
            task_id=call.task_id,
            decision="refused",
            deny_code=error.code,
            evidence_status="present",
            attribution=call.attribution,
            privacy_mode=call.privacy_mode,
            trace=attempts.trace(),
        )
        with contextlib.suppress(Unavailable):
            await self._spend.record(event)


def _model_class(wanted: str | None, options: Options, policy: Policy) -> str:
    """Says who may answer: equal for equal wishes under equal policies, in every process."""
    lists = (policy.models.allow, policy.models.deny, policy.vendors.allow, policy.vendors.deny)
    chosen = (options.prefer_providers, options.exclude_providers, options.require_capabilities)
    names = [None if each is None else sorted(each) for each in (*lists, *chosen)]
    return repr([wanted, options.weights, names, options.min_context, options.prefer_tier, options.max_tier])


def _size(part: dict[str, Any]) -> int:
    """Bytes of everything in a message or delta that a model wrote: text, refusals, reasoning, tool calls."""
    size = 0
    for name, value in part.items():
        if value and name != "role":
            size += len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))
    return size
