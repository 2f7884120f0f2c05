"""Simulated time: requests that arrive, upstreams that misbehave by a seed, and the router between them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine import CompletionRequest, Model
from engine.errors import StreamCut, UpstreamBusy, UpstreamError, UpstreamTimedOut, UpstreamUnreachable
from engine.guard import bound
from engine.options import DEFAULTS, Options
from engine.routing import Candidate, Leg, Route, Router
from ledger.clock import SECOND_US
from ledger.errors import AgentNodeError
from tests.engine.routing.models import model

REQUEST = CompletionRequest([{"role": "user", "content": "hello"}])
DEADLINE_S = 120.0
FIRST_BYTE_S = 10.0


class SimulatedClock:
    def __init__(self) -> None:
        self.at_us = 1_800_000_000 * SECOND_US

    def now_us(self) -> int:
        return self.at_us


@dataclass(frozen=True)
class Behaviour:
    """After how long, and with which error; `begins`: its first token came before that."""

    after_s: float
    error: AgentNodeError | None = None
    begins: bool = False


Upstreams = dict[str, Callable[[random.Random, int], Behaviour]]


@dataclass
class Outcome:
    at_us: int
    attempts: list[str] = field(default_factory=list)
    began: bool = False
    error: AgentNodeError | None = None
    took_us: int = 0


@dataclass
class Simulation:
    """`per_s` requests arrive a second, at random; every one goes its route to the end."""

    upstreams: Upstreams
    models: list[Model]
    seed: int
    per_s: float
    options: Options = DEFAULTS
    breakers: dict[str, Any] = field(default_factory=dict)
    """that are not simply closed at the end"""

    def run(self, requests: int) -> list[Outcome]:
        clock, chance = SimulatedClock(), random.Random(self.seed)
        router = Router(clock)
        candidates = [Candidate(each, bound(REQUEST, each)) for each in self.models]
        outcomes: list[Outcome] = []
        due: list[tuple[int, int, Iterator[float]]] = []
        number, arrival_us = 0, clock.at_us
        for _ in range(requests):
            arrival_us += int(chance.expovariate(self.per_s) * SECOND_US)
            outcome = Outcome(arrival_us)
            outcomes.append(outcome)
            due.append((arrival_us, number, self._request(router, candidates, chance, outcome)))
            number += 1
        heapq.heapify(due)
        while due:
            clock.at_us, _, request = heapq.heappop(due)
            pause_s = next(request, None)
            if pause_s is not None:
                number += 1
                heapq.heappush(due, (clock.at_us + int(pause_s * SECOND_US), number, request))
        self.breakers = router.breakers.as_dict()
        return outcomes

    def _request(
        self, router: Router, candidates: list[Candidate], chance: random.Random, outcome: Outcome
    ) -> Iterator[float]:
        """One request as the engine would lead it; what it yields are its waits."""
        clock = router.clock
        ranking = router.rank(candidates, REQUEST, self.options)
        route = router.route(ranking, clock.now_us() + int(DEADLINE_S * SECOND_US), FIRST_BYTE_S)
        try:
            while True:
                step = route.next_step()
                if not isinstance(step, Leg):
                    yield step.wait_s
                    continue
                if (yield from self._attempt(route, step, chance, clock.now_us, outcome)):
                    break
        except AgentNodeError as error:
            outcome.error = error
        outcome.took_us = clock.now_us() - outcome.at_us

    def _attempt(
        self, route: Route, leg: Leg, chance: random.Random, now_us: Callable[[], int], outcome: Outcome
    ) -> Iterator[float]:  # type: ignore[return]
        yield leg.pause_s
        name = leg.candidate.model.provider
        outcome.attempts.append(name)
        behaviour = self.upstreams[name](chance, now_us())
        if behaviour.after_s > leg.timing.first_byte_s and not behaviour.begins:
            behaviour = Behaviour(leg.timing.first_byte_s, UpstreamTimedOut(name))
        yield behaviour.after_s
        if behaviour.begins or behaviour.error is None:
            outcome.began = True
            route.began()
        if behaviour.error is not None:
            route.failed(behaviour.error)
            return False  # type: ignore[return-value]
        took_ms = behaviour.after_s * 1_000
        route.answered(took_ms=took_ms, output_tokens=20, first_token_ms=took_ms / 2)
        return True  # type: ignore[return-value]


def dead(chance: random.Random, now_us: int) -> Behaviour:
    return Behaviour(0.001, UpstreamUnreachable("dead"))


def failing(chance: random.Random, now_us: int) -> Behaviour:
    """10% 5xx."""
    if chance.random() < 0.1:
        return Behaviour(0.05, UpstreamError("failing"))
    return Behaviour(chance.uniform(0.2, 1.0))


def limited(wait_s: float) -> Callable[[random.Random, int], Behaviour]:
    """5% 429 with Retry-After, which it means; 2% hang; 1% break after the first token."""
    shut_until_us = 0

    def answer(chance: random.Random, now_us: int) -> Behaviour:
        nonlocal shut_until_us
        which = chance.random()
        if now_us < shut_until_us:
            return Behaviour(0.01, UpstreamBusy("limited", retry_after_ms=(shut_until_us - now_us) // 1_000))
        if which < 0.05:
            shut_until_us = now_us + int(wait_s * SECOND_US)
            return Behaviour(0.01, UpstreamBusy("limited", retry_after_ms=int(wait_s * 1_000)))
        if which < 0.07:
            return Behaviour(1_000.0)
        if which < 0.08:
            return Behaviour(0.5, StreamCut("limited"), begins=True)
        return Behaviour(chance.uniform(0.2, 1.0))

    return answer


def one_each(best_first: tuple[str, ...]) -> list[Model]:
    """The same model at upstreams of which the first is the best on paper."""
    return [model(name, "m", 1 + place, 2 + place, 0.9 - place / 10) for place, name in enumerate(best_first)]
