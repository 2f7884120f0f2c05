"""The attempts of one request: each held and journaled before it leaves, and the next one where it may be made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from engine.completion import Attempt, Call, Chunk, Completion, written_bytes
from engine.errors import RateLimitExceeded, TooManyConcurrent, UpstreamError
from engine.guard import Guard, Verdicts
from engine.metered import MeteredCall
from engine.options import Options
from engine.providers import Answer, Piece, Provider, Providers
from engine.request import CompletionRequest
from engine.routing import Leg, Ranking, Route, Wait
from engine.usage import Usage
from ledger.accounts import Account, Policy
from ledger.clock import Clock
from ledger.errors import AgentNodeError, BudgetRefused, Unavailable
from ledger.events import EventDraft
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

    async def refused(self, error: AgentNodeError) -> None:
        """Books a refusal of the guard with its trace, for who asks why. Floods are not booked."""
        if "refused" not in self.verdicts.said.values() or isinstance(error, RateLimitExceeded | TooManyConcurrent):
            return
        account, call = self.order.account, self.order.call
        if not self.guard.books_refusal(account.tenant_id):
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
            trace=self.trace(),
        )
        with contextlib.suppress(Unavailable):
            await self.spend.record(event)


class Attempting:
    """One attempt. Within `async with` its call is held and may be sent, once; `metered` must be captured before the
    end."""

    metered: MeteredCall

    def __init__(self, attempts: Attempts, leg: Leg) -> None:
        self._attempts = attempts
        self.model, self.bound, self.timing = leg.candidate.model, leg.candidate.bound, leg.timing
        self._pause_s = leg.pause_s
        provider = attempts.providers.get(self.model.provider)
        assert provider is not None, self.model.id
        self.provider: Provider = provider
        self.took_us = 0
        """from its sending to the end of its answer"""
        self._sent_us = 0
        self._first_token_us = 0

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
        self._sent_us = attempts.clock.now_us()
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
