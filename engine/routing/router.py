"""Who serves, kept over requests: measures, breakers and the retry budget of this process, and each request's route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from engine.options import Options
from engine.providers import Timing
from engine.request import CompletionRequest
from engine.routing.breakers import Breakers, blamed
from engine.routing.candidate import Candidate, needs_of
from engine.routing.exclusion import ModelPolicy
from engine.routing.failover import PATIENCE_US, FailedCall, GiveUp, Try, Wait, may_go_on, next_step
from engine.routing.measures import Measures
from engine.routing.ranking import ENOUGH_QUALITY, Ranking, rank
from engine.routing.retries import RetryBudget
from engine.routing.traits import KnownTraits
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError

LONGEST_SPREAD_S = 0.5
_GOLDEN = 0.6180339887498949
_NOTHING: Mapping[str, Any] = {}


class Router:
    """Ranks, and leads requests from one attempt to the next by what it has seen of upstreams."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.measures = Measures(clock)
        self.breakers = Breakers(clock)
        self.retries = RetryBudget(clock)
        self._traits = KnownTraits()
        self._waits = 0

    def rank(
        self,
        candidates: Sequence[Candidate],
        request: CompletionRequest,
        options: Options,
        policy: ModelPolicy | None = None,
        *,
        outcomes: Mapping[str, tuple[int, int]] = _NOTHING,
        missing_keys: Mapping[str, str] = _NOTHING,
        test_money: bool = False,
    ) -> Ranking:
        """`rank` with what was measured here."""
        return rank(
            candidates,
            needs_of(request),
            options,
            policy,
            measured=self.measures.of,
            outcomes=outcomes,
            missing_keys=missing_keys,
            test_money=test_money,
            traits=self._traits.of,
        )

    def spread_s(self) -> float:
        """What is added to a wait, evenly from none to LONGEST_SPREAD_S, so that not all who wait come back at once:
        the first ones find out whether the door is open.
        """
        self._waits += 1
        return LONGEST_SPREAD_S * (self._waits * _GOLDEN % 1)

    def route(self, ranking: Ranking, deadline_us: int, first_byte_s: float) -> Route:
        """The way of one request, which must have its answer by the deadline (Unix microseconds). `first_byte_s` is
        how long an upstream may be silent where there is time enough.

        Raises NoModelServes, ModelNotAllowed or ModelUnavailable where the ranking is empty.
        """
        if not ranking.chosen:
            raise ranking.refusal()
        return Route(self, ranking, deadline_us, first_byte_s)


@dataclass(frozen=True, slots=True)
class Leg:
    """One attempt: whom to ask, how long to pause before, and within which times."""

    candidate: Candidate
    pause_s: float
    timing: Timing


class Route:
    """One request's attempts. After each Leg comes exactly one of `answered`, `failed` and `dropped`."""

    def __init__(self, router: Router, ranking: Ranking, deadline_us: int, first_byte_s: float) -> None:
        self._router, self._options = router, ranking.options
        self._deadline_us, self._first_byte_s = deadline_us, first_byte_s
        self._candidates = _worth_going_on_with(ranking)
        self._leg: Leg | None = None
        self._call = 0
        self._began = False
        self._idle_since_us = router.clock.now_us()
        self.attempts: list[FailedCall] = []
        router.retries.request()

    @property
    def is_open(self) -> bool:
        """An attempt is under way: none of the three has been said of it."""
        return self._leg is not None

    @property
    def may_go_on(self) -> bool:
        """Another attempt may follow the one that failed last."""
        return may_go_on(self.attempts[-1], self._options, len(self.attempts), self._router.retries.has_room)

    def next_step(self) -> Leg | Wait:
        """The next attempt, or how long to wait before asking this again.

        Raises the last attempt's error, or UpstreamsShut, where there is none.
        """
        assert self._leg is None, "the attempt before has not ended"
        router, now_us = self._router, self._router.clock.now_us()
        step = next_step(
            self._candidates,
            self.attempts,
            self._options,
            now_us=now_us,
            deadline_us=self._deadline_us,
            patient_until_us=self._idle_since_us + PATIENCE_US,
            doors=router.breakers,
            may_retry=not self.attempts or router.retries.has_room,
        )
        match step:
            case GiveUp(error):
                raise error
            case Wait(wait_s):
                in_time = wait_s + LONGEST_SPREAD_S < (self._deadline_us - now_us) / SECOND_US
                return Wait(wait_s + router.spread_s()) if in_time else step
            case Try(candidate, pause_s, attempts_left):
                if self.attempts:
                    router.retries.take()
                self._call = router.breakers.lets_through(candidate.model)
                left_s = max(0.001, (self._deadline_us - now_us) / SECOND_US - pause_s)
                timing = Timing(min(self._first_byte_s, left_s / attempts_left), left_s)
                self._leg = Leg(candidate, pause_s, timing)
                return self._leg

    def began(self) -> None:
        """A part of the answer reached the caller: from here on there is no other attempt."""
        assert self._leg is not None
        self._began = True
        self._router.breakers.succeeded(self._leg.candidate.model, self._call)

    def answered(self, *, took_ms: float, output_tokens: int = 0, first_token_ms: float | None = None) -> None:
        """The answer is whole. Times are from the sending of this attempt."""
        model = self._ended().model
        if not self._began:
            self._router.breakers.succeeded(model, self._call)
        self._router.measures.answered(
            model, took_ms=took_ms, output_tokens=output_tokens, first_token_ms=first_token_ms
        )

    def failed(self, error: AgentNodeError) -> None:
        """The attempt failed with this; `next_step` says whether there is another."""
        candidate = self._ended()
        self.attempts.append(FailedCall(candidate, error, self._began))
        self._router.breakers.failed(candidate.model, self._call, error)
        if blamed(error) in ("upstream", "model"):
            self._router.measures.failed(candidate.model)

    def dropped(self) -> None:
        """The attempt was left before its upstream showed anything: refused by the guard, or the caller went away."""
        self._router.breakers.came_back(self._ended().model, self._call)

    def _ended(self) -> Candidate:
        assert self._leg is not None, "there is no attempt"
        leg, self._leg = self._leg, None
        self._idle_since_us = self._router.clock.now_us()
        return leg.candidate


def _worth_going_on_with(ranking: Ranking) -> list[Candidate]:
    """A request that a model of use could serve is never passed on to one of none: an error is more honest."""
    if ranking.needs.wanted is None and ranking.chosen[0].quality >= ENOUGH_QUALITY:
        return [each.candidate for each in takewhile(lambda each: each.quality >= ENOUGH_QUALITY, ranking.chosen)]
    return [each.candidate for each in ranking.chosen]
