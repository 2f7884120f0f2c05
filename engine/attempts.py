"""The attempts of one request: each held and journaled before it leaves, and the next one where it may be made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any

from engine.completion import Attempt, Chunk, Completion, written_bytes
from engine.errors import RateLimitExceeded, TooManyConcurrent, UpstreamError
from engine.guard import Guard, Verdicts, within
from engine.metered import MeteredCall
from engine.order import Order, most_of
from engine.placeholder import Placeholder
from engine.providers import Answer, Piece, Provider, Providers
from engine.routing import Leg, Ranking, Route, Wait
from engine.usage import Usage
from ledger.clock import Clock
from ledger.errors import AgentNodeError, BudgetRefused, Unavailable
from ledger.spend import Spend

RANKED_IN_TRACE = 5


class Attempts:
    """`async with attempts: async for attempt in attempts: async with attempt: ...; return`: an attempt whose upstream
    failed is swallowed where another may follow it; what ends the request is raised."""

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
        self.failure: UpstreamError | None = None
        """of the last upstream that failed"""
        self.verdicts = Verdicts()
        self.spend, self.guard, self.providers = spend, guard, providers
        self.clock, self.lease_s = clock, lease_s
        self.placeholder = Placeholder(spend, clock, order.account.tenant_id, order.call.retry_key, lease_s)
        self._most_usd_nanos = most_of(order.options, order.account.policy)

    async def __aenter__(self) -> Attempts:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was charged is told: it ends with the failure that says so, whatever stood in the next one's way."""
        await self.placeholder.end()
        if isinstance(error, AgentNodeError):
            await self._book_refusal(error)
            if self.charged_usd_nanos and self.failure and not isinstance(error, UpstreamError):
                raise self.failure from error

    def __aiter__(self) -> Attempts:
        return self

    async def __anext__(self) -> OpenAttempt:
        while isinstance(step := self.route.next_step(), Wait):
            await asyncio.sleep(step.wait_s)
            await self.placeholder.stay()
        return OpenAttempt(self, step)

    @property
    def charged_usd_nanos(self) -> int:
        """For the attempts that failed."""
        return sum(each.charged_usd_nanos for each in self.made)

    @property
    def left_usd_nanos(self) -> int:
        """What the next one may cost: all of them together are one request."""
        return max(0, self._most_usd_nanos - self.charged_usd_nanos)

    def failed(self, attempt: Attempt, error: AgentNodeError) -> None:
        self.made.append(attempt)
        if isinstance(error, UpstreamError):
            self.failure = error
            error.charge(self.charged_usd_nanos)

    def trace(self) -> dict[str, Any]:
        """How it was decided, for the event: the best of the ranking, each layer's verdict, and what failed before."""
        trace = {"routing": self.ranking.as_dict(RANKED_IN_TRACE), "guard": self.verdicts.said}
        return trace | {"attempts": [each.as_dict() for each in self.made]} if self.made else trace

    async def _book_refusal(self, error: AgentNodeError) -> None:
        """Books a refusal of the guard with its trace, for who asks why. Floods are not booked."""
        if "refused" not in self.verdicts.said.values() or isinstance(error, RateLimitExceeded | TooManyConcurrent):
            return
        if not self.guard.books_refusal(self.order.account.tenant_id):
            return
        said = {"deny_code": error.code, "evidence_status": "present", "trace": self.trace()}
        with contextlib.suppress(Unavailable):
            await self.spend.record(self.order.event("refusal", "refused", **said))


class OpenAttempt:
    """One attempt. Within `async with` its call is held and may be sent, once; `metered` must be captured before the
    end."""

    metered: MeteredCall

    def __init__(self, attempts: Attempts, leg: Leg) -> None:
        self._attempts = attempts
        self.model, self.timing = leg.candidate.model, leg.timing
        self._bound, self._pause_s = leg.candidate.bound, leg.pause_s
        provider = attempts.providers.get(self.model.provider)
        assert provider is not None, self.model.id
        self.provider: Provider = provider
        self.took_us = 0
        """from its sending to the end of its answer"""
        self._sent_us = 0
        self._first_token_us = 0

    async def __aenter__(self) -> OpenAttempt:
        """Raises the guard's refusals, and the failure before it where too little is left to try again."""
        attempts = self._attempts
        try:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            await self._hold()
        except BaseException:
            attempts.route.dropped()
            raise
        self._sent_us = attempts.clock.now_us()
        return self

    async def _hold(self) -> None:
        attempts, order = self._attempts, self._attempts.order
        guard, verdicts, left = attempts.guard, attempts.verdicts, attempts.left_usd_nanos
        bound = self._bound
        if attempts.failure and attempts.charged_usd_nanos:
            shorter = within(bound, order.request, self.model, left)
            if shorter is None:
                raise attempts.failure
            bound = shorter
        await guard.admit(order.account, bound, verdicts)
        takes = order.account.takes + guard.payers(order.account, self.model.test, verdicts)
        if attempts.made:
            takes = tuple(take for take in takes if take.how != "count")  # a request counts once
        self.metered = MeteredCall(
            *(attempts.spend, attempts.clock, self.model, bound, order, takes),
            *(attempts.trace(), attempts.lease_s, left),
        )
        try:
            await self.metered.open()
        except BudgetRefused as refusal:
            raise guard.refused(refusal, verdicts) from refusal
        guard.passed(order.account, bound)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        attempts, route, metered = self._attempts, self._attempts.route, self.metered
        failed = error if isinstance(error, AgentNodeError) and route.is_open else None
        metered.silent_us = (self._first_token_us or attempts.clock.now_us()) - self._sent_us
        # The route first: to end the hold may take its time, and be cancelled.
        if failed is not None:
            route.failed(failed)
        elif error is not None and route.is_open:
            route.dropped()
        try:
            if failed is not None and route.may_go_on:
                await attempts.placeholder.begin()
        finally:
            await metered.close(error)
        if failed is None:
            return False
        reached = isinstance(failed, UpstreamError) and failed.reached
        attempts.failed(self._ended(failed.code, metered.event_id if reached else None), failed)
        return True  # the route raises it where there is no other attempt

    async def answer(self) -> Answer:
        """Sends it, and counts what came."""
        limit = self.metered.limit.max_tokens
        answer = await self.provider.complete(self.model, self._attempts.order.request, limit, self.timing)
        for choice in answer.choices:
            self.metered.saw(written_bytes(choice["message"]))
        return answer

    def arrivals(self) -> AsyncGenerator[list[Piece], None]:
        """Sends it; what comes is to be told to `saw`."""
        limit = self.metered.limit.max_tokens
        return self.provider.stream(self.model, self._attempts.order.request, limit, self.timing)

    async def saw(self, size_bytes: int) -> None:
        """So much more of a streamed answer came. From its first token on no other upstream is asked."""
        self.metered.saw(size_bytes)
        if size_bytes and not self._first_token_us:
            self._first_token_us = self._attempts.clock.now_us()
            self._attempts.route.began()
        if self.metered.floor_is_old:
            await self.metered.raise_floor()

    def answered(self, usage: Usage | None) -> None:
        """The answer is whole."""
        self.took_us = max(0, self._attempts.clock.now_us() - self._sent_us)
        first_token_us = max(0, self._first_token_us - self._sent_us) if self._first_token_us else None
        self._attempts.route.answered(
            took_ms=self.took_us / 1_000,
            output_tokens=usage.completion_tokens if usage else 0,
            first_token_ms=None if first_token_us is None else first_token_us / 1_000,
        )

    def chunks(self, pieces: Sequence[Piece], completion: Completion | None = None) -> list[Chunk]:
        """The upstream's pieces under the id of the call's event, the last of them with the completion."""
        chunks = []
        for piece in pieces:
            piece.chunk["id"] = self.metered.event_id
            chunks.append(Chunk(piece.chunk, self.model.provider))
        if completion is not None:
            chunks[-1] = Chunk(pieces[-1].chunk, self.model.provider, completion)
        return chunks

    def served(self) -> tuple[Attempt, ...]:
        """All attempts of the request, this one the last."""
        return (*self._attempts.made, self._ended("served", self.metered.event_id))

    def _ended(self, outcome: str, event_id: str | None) -> Attempt:
        charged = self.metered.charged_usd_nanos
        return Attempt(self.model.provider, self.model.id, outcome, event_id, charged)
