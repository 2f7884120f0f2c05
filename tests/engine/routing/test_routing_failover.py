"""A request goes on to whoever can still answer it, in time, at most three times, and never twice to a caller."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import OFFLINE, CompletionRequest, Model
from engine.errors import (
    NoModelServes,
    PromptRejected,
    StreamCut,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamsShut,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from engine.guard import bound
from engine.options import DEFAULTS, Options
from engine.routing import Candidate, Leg, Route, Router, Wait
from engine.routing.breaker import FAILURES_IN_ROW
from engine.routing.failover import MOST_ATTEMPTS
from engine.routing.retries import MOST, SHARE, RetryBudget
from ledger.clock import SECOND_US
from ledger.errors import AgentNodeError, BudgetRefused, InvalidInput
from tests.engine.routing.models import model
from tests.engine.routing.simulation import (
    Behaviour,
    SimulatedClock,
    Simulation,
    dead,
    failing,
    limited,
    one_each,
)
from tests.rounds import LONG, rounds

REQUEST = CompletionRequest([{"role": "user", "content": "hello"}])
A, A2, B, C = model("a", "1", quality=0.9), model("a", "2", quality=0.8), model("b", "1"), model("c", "1", quality=0.4)
FAILURES = [
    UpstreamError("x"),
    UpstreamTimedOut("x"),
    UpstreamUnreachable("x"),
    StreamCut("x"),
    UpstreamOverloaded("x"),
]


class World:
    """A router, and one route at a time over these models."""

    def __init__(self, *models: Model, wanted: str | None = None, deadline_s: float = 60, **options: object) -> None:
        self.clock = SimulatedClock()
        self.router = Router(self.clock)
        self.models, self.deadline_s = models, deadline_s
        self.request = dataclasses.replace(REQUEST, model=wanted)
        self.options = dataclasses.replace(DEFAULTS, **options)  # type: ignore[arg-type]
        self.route = self.begin()

    def begin(self, options: Options | None = None) -> Route:
        candidates = [Candidate(each, bound(self.request, each)) for each in self.models]
        ranking = self.router.rank(candidates, self.request, options or self.options)
        return self.router.route(ranking, self.clock.at_us + int(self.deadline_s * SECOND_US), 10)

    def shuts(self, name: Model, error: AgentNodeError, times: int = 1) -> None:
        for _ in range(times):
            self.router.breakers.failed(name, self.router.breakers.lets_through(name), error)

    def tried(self, *errors: AgentNodeError) -> list[str]:
        """Who is asked, one after the other, while these are the answers; a wait is waited for."""
        names: list[str] = []
        for error in errors:
            leg = self.leg()
            names.append(leg.candidate.model.id)
            self.route.failed(error)
        return names

    def leg(self) -> Leg:
        for _ in range(1_000):
            step = self.route.next_step()
            if isinstance(step, Leg):
                return step
            self.clock.at_us += int(step.wait_s * SECOND_US) + 1
        raise AssertionError("waits without end")

    def ends_with(self) -> AgentNodeError:
        with pytest.raises(AgentNodeError) as ended:
            self.leg()
        return ended.value


@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_goes_on_elsewhere_first(error: AgentNodeError) -> None:
    """Then to another model of the upstream that failed, and the last error is the one that is told."""
    world = World(A, A2, B, deadline_s=600)
    assert world.tried(error, UpstreamError("second"), StreamCut("third")) == ["a/1", "b/1", "a/2"]
    assert str(world.ends_with()) == "UPSTREAM_CUT: third"
    assert [each.error.code for each in world.route.attempts] == [error.code, "UPSTREAM_ERROR", "UPSTREAM_CUT"]


def test_a_rejected_prompt_and_a_refused_budget_go_nowhere_else() -> None:
    for error in (PromptRejected("x"), BudgetRefused("session", 2, 1)):
        world = World(A, B)
        world.tried(error)
        assert world.ends_with() is error


def test_nothing_follows_once_the_caller_has_a_part_of_the_answer() -> None:
    world = World(A, B)
    world.leg()
    world.route.began()
    cut = StreamCut("x")
    world.route.failed(cut)
    assert world.ends_with() is cut


def test_what_one_provider_cannot_take_another_may() -> None:
    assert World(A, B).tried(InvalidInput("tools", "cannot be sent there"), UpstreamError("x")) == ["a/1", "b/1"]


def test_the_only_one_is_asked_again_after_a_pause_unless_it_refused() -> None:
    world = World(A)
    pauses = []
    for _ in range(MOST_ATTEMPTS):
        pauses.append(world.leg().pause_s)
        world.route.failed(UpstreamError("x"))
    assert pauses == [0, 0.1, 0.2]
    for error in (UpstreamRefused("404"), UpstreamDenied("401")):
        world = World(A)
        world.tried(error)
        assert world.ends_with() is error


def test_a_pin_is_kept_at_every_upstream_that_has_the_model() -> None:
    pinned = [model("openai", "gpt-4o"), model("openrouter", "openai/gpt-4o", 0.1, 0.1), A]
    world = World(*pinned, wanted="openai/gpt-4o")
    assert world.tried(*[UpstreamError("x")] * 3) == ["openai/gpt-4o", "openrouter/openai/gpt-4o", "openai/gpt-4o"]
    assert world.ends_with().code == "UPSTREAM_ERROR"
    with pytest.raises(NoModelServes):
        World(A, wanted="b/1")


def test_without_failover_there_is_one_attempt() -> None:
    world = World(A, B, failover=False)
    assert world.tried(UpstreamError("x")) == ["a/1"]
    assert world.ends_with().code == "UPSTREAM_ERROR"


def test_a_model_of_no_use_never_stands_in_for_one_of_use() -> None:
    """Who asked for a language model is told that none answers; a sentence cut out of the prompt is no answer."""
    world = World(A, OFFLINE)
    assert world.tried(*[UpstreamUnreachable("x")] * 3) == ["a/1"] * 3
    assert World(OFFLINE).leg().candidate.model == OFFLINE


class TestAtALimit:
    """`rate_limit_strategy` says what follows an upstream's 429."""

    busy = UpstreamBusy("x", retry_after_ms=3_000)

    def test_switch_goes_on_to_the_next(self) -> None:
        assert World(A, B).tried(self.busy, UpstreamError("x")) == ["a/1", "b/1"]

    def test_queue_waits_and_asks_the_same(self) -> None:
        world = World(A, B, rate_limit_strategy="queue")
        began_us = world.clock.at_us
        assert world.tried(self.busy, self.busy, self.busy) == ["a/1"] * 3
        assert world.clock.at_us - began_us >= 6 * SECOND_US
        assert world.ends_with() is self.busy

    def test_queue_goes_on_where_the_wait_is_longer_than_the_deadline(self) -> None:
        long = UpstreamBusy("x", retry_after_ms=100_000)
        assert World(A, B, rate_limit_strategy="queue").tried(long, UpstreamError("x")) == ["a/1", "b/1"]
        alone = World(A, B, rate_limit_strategy="queue", failover=False)
        alone.tried(long)
        assert alone.ends_with() is long

    def test_queue_waits_without_failover_too(self) -> None:
        world = World(A, B, rate_limit_strategy="queue", failover=False)
        assert world.tried(self.busy, UpstreamError("x")) == ["a/1", "a/1"]
        assert world.ends_with().code == "UPSTREAM_ERROR"

    def test_fail_gives_up(self) -> None:
        world = World(A, B, rate_limit_strategy="fail")
        world.tried(self.busy)
        assert world.ends_with() is self.busy
        later = World(A, B, rate_limit_strategy="fail")
        later.shuts(A, self.busy)
        assert later.ends_with().retry_after_ms == 3_000

    def test_fail_is_for_limits_only(self) -> None:
        assert World(A, B, rate_limit_strategy="fail").tried(UpstreamError("x"), UpstreamError("x")) == ["a/1", "b/1"]

    def test_a_model_at_its_limit_is_not_asked_and_its_sister_is(self) -> None:
        world = World(A, A2)
        world.shuts(A, self.busy)
        assert world.tried(UpstreamError("x")) == ["a/2"]


def test_an_upstream_at_rest_is_passed_by_and_probed_by_a_first_attempt_only() -> None:
    """A second attempt is not spent on who has not answered since it failed, while another may answer."""
    world = World(A, B)
    world.shuts(A, UpstreamError("x"), FAILURES_IN_ROW)
    assert world.leg().candidate.model == B
    world.route.failed(UpstreamError("x"))
    world.clock.at_us += 2 * SECOND_US
    assert world.leg().candidate.model == B
    world.route.dropped()
    world.route = world.begin()
    assert world.leg().candidate.model == A


def test_who_finds_all_at_rest_waits_a_little_and_is_told_when_it_is_long() -> None:
    world = World(A)
    world.shuts(A, UpstreamError("x"), FAILURES_IN_ROW)
    assert isinstance(world.route.next_step(), Wait)
    assert world.leg().candidate.model == A
    world.route.dropped()
    world = World(A, B)
    for each in (A, B):
        world.shuts(each, UpstreamBusy("x", retry_after_ms=50_000 if each is A else 40_000))
    refused = world.ends_with()
    assert isinstance(refused, UpstreamBusy)
    assert refused.retry_after_ms == 40_000


def test_who_finds_some_at_their_limits_and_the_others_down_is_not_told_of_a_limit() -> None:
    """Money would not cure it, and a caller who would pay is not made to."""
    world = World(A, B)
    world.shuts(A, UpstreamBusy("x", retry_after_ms=50_000))
    world.shuts(B, UpstreamOverloaded("x", retry_after_ms=40_000), FAILURES_IN_ROW)
    refused = world.ends_with()
    assert isinstance(refused, UpstreamsShut)
    assert refused.retry_after_ms == 40_000


def test_where_nobody_else_is_left_a_rest_is_no_longer_than_the_first() -> None:
    """However often it failed: once a second one request may see whether it is back, and the others wait for that."""
    world = World(A)
    world.shuts(A, UpstreamError("x"), FAILURES_IN_ROW)
    for _ in range(5):
        world.clock.at_us = world.router.breakers.opens_at_us(A)
        world.shuts(A, UpstreamError("x"))
    assert world.router.breakers.opens_at_us(A) - world.clock.at_us == 30 * SECOND_US
    began_us = world.clock.at_us
    world.route = world.begin()
    world.leg()
    assert SECOND_US <= world.clock.at_us - began_us < 2 * SECOND_US
    probing = world.route
    world.route = world.begin()
    assert isinstance(world.route.next_step(), Wait)
    probing.answered(took_ms=10)
    assert isinstance(world.route.next_step(), Leg)


def test_who_waits_in_vain_is_told_after_ten_seconds() -> None:
    world = World(A)
    world.shuts(A, UpstreamError("x"), FAILURES_IN_ROW)
    began_us = world.clock.at_us
    while isinstance(step := next_or_none(world.route), Wait):
        world.clock.at_us += int(step.wait_s * SECOND_US)
        if world.router.breakers.probed_at_us(A) <= world.clock.at_us:
            world.shuts(A, UpstreamError("x"))
    assert step is None
    assert 9 * SECOND_US < world.clock.at_us - began_us < 12 * SECOND_US


def next_or_none(route: Route) -> Leg | Wait | None:
    try:
        return route.next_step()
    except UpstreamsShut:
        return None


def test_who_seems_down_is_not_asked_again_before_who_was_down_and_may_be_back() -> None:
    """One failure is bad luck and is tried again at once; three in a row, of several requests, are more."""
    for failures_before, second in ((0, "a/1"), (FAILURES_IN_ROW // 2 - 1, "b/1")):
        world = World(A, B)
        world.shuts(B, UpstreamError("x"), FAILURES_IN_ROW)
        world.clock.at_us += 2 * SECOND_US
        world.shuts(A, UpstreamError("x"), failures_before)
        assert world.tried(*[UpstreamError("x")] * 2) == ["a/1", second]


def test_the_last_attempt_waits_for_who_was_not_tried_and_is_soon_past_its_limit() -> None:
    """The second does not: it asks again at once, and a long wait is no better than a third try."""
    for wait_ms, third in ((1_000, "b/1"), (5_000, "a/1")):
        world = World(A, B)
        world.shuts(B, UpstreamBusy("x", retry_after_ms=wait_ms))
        assert world.tried(*[UpstreamError("x")] * 3) == ["a/1", "a/1", third]


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        ([UpstreamOverloaded("x")] * 2, ["a/1", "b/1"]),
        ([StreamCut("x")] * 3, ["a/1", "a/1", "b/1"]),
        ([UpstreamUnreachable("x")] * 3, ["a/1", "a/1", "b/1"]),
        ([UpstreamError("x")] * 3, ["a/1", "a/1", "a/1"]),
    ],
)
def test_who_seems_down_by_this_request_is_left_for_who_may_be_back(
    errors: list[AgentNodeError], asked: list[str]
) -> None:
    """A 503 says it, two broken connections do; a 500 is bad luck. The rest of the other is cut to a second."""
    world = World(A, B)
    world.shuts(B, UpstreamError("x"), FAILURES_IN_ROW)
    world.clock.at_us = world.router.breakers.opens_at_us(B)
    world.shuts(B, UpstreamError("x"))
    assert world.tried(*errors) == asked


def test_the_deadline_is_shared_among_the_attempts_that_are_left() -> None:
    world = World(A, B, C, deadline_s=12)
    first = world.leg().timing
    assert (first.first_byte_s, first.total_s) == (4, 12)
    world.clock.at_us += 4 * SECOND_US
    world.route.failed(UpstreamTimedOut("x"))
    assert world.leg().timing.first_byte_s == 4
    world.clock.at_us += 7 * SECOND_US
    world.route.failed(UpstreamTimedOut("x"))
    last = world.leg().timing
    assert (last.first_byte_s, last.total_s) == (1, 1)
    world.clock.at_us += SECOND_US
    world.route.failed(UpstreamTimedOut("x"))
    assert world.ends_with().code == "UPSTREAM_TIMEOUT"
    patient = World(A, deadline_s=600).leg().timing
    assert (patient.first_byte_s, patient.total_s) == (10, 600)


def test_after_the_deadline_nobody_is_asked() -> None:
    world = World(A, B, deadline_s=5)
    world.leg()
    world.clock.at_us += 5 * SECOND_US
    late = UpstreamTimedOut("x")
    world.route.failed(late)
    assert world.ends_with() is late


@given(st.lists(st.sampled_from(["request", "retry", "second"]), max_size=400))
def test_retries_are_a_share_of_requests(story: list[str]) -> None:
    """At most a fifth of them, and what is always there: MOST at once, and one a second."""
    clock = SimulatedClock()
    budget = RetryBudget(clock)
    taken = 0
    for event in story:
        if event == "request":
            budget.request()
        elif event == "second":
            clock.at_us += SECOND_US
        elif budget.has_room:
            budget.take()
            taken += 1
    assert taken <= MOST + SHARE * story.count("request") + story.count("second")


def test_an_empty_retry_budget_ends_a_request_at_its_first_failure() -> None:
    world = World(A, B)
    while world.router.retries.has_room:
        world.router.retries.take()
    world.tried(UpstreamError("x"))
    assert world.ends_with().code == "UPSTREAM_ERROR"


def test_what_an_upstream_shows_moves_the_next_ranking() -> None:
    world = World(A, dataclasses.replace(A, provider="z"))
    for _ in range(3):
        assert world.leg().candidate.model == A
        world.route.failed(UpstreamError("x"))
        world.leg()
        world.route.answered(took_ms=100, output_tokens=10, first_token_ms=20)
        world.route = world.begin()
        if world.leg().candidate.model != A:
            break
        world.route.dropped()
    else:
        raise AssertionError("the failing one is still first")


ORDERS = list(itertools.permutations(("dead", "failing", "limited")))


@pytest.mark.parametrize("order", ORDERS if LONG else ORDERS[:1], ids="-".join)
@pytest.mark.parametrize(("per_s", "wait_s"), [(5, 1), (50, 30), (500, 5)])
def test_no_upstream_is_perfect_and_requests_are_answered(order: tuple[str, ...], per_s: float, wait_s: float) -> None:
    """One is dead; one fails 10%; one has 5% at its limit, 2% hanging and 1% breaking off: of 10,000 requests 9,980
    get a first token, none with more than three attempts, and with 12,000 in all after the first 200.
    """
    upstreams = {"dead": dead, "failing": failing, "limited": limited(wait_s)}
    simulation = Simulation(upstreams, one_each(order), seed=1, per_s=per_s)
    outcomes = simulation.run(10_000)
    assert sum(each.began for each in outcomes) >= 9_980
    assert max(len(each.attempts) for each in outcomes) <= MOST_ATTEMPTS
    assert sum(len(each.attempts) for each in outcomes[200:]) <= 12_000
    asked = sum("dead" in each.attempts for each in outcomes)
    assert asked < 10 or "dead" in simulation.breakers, "nobody learned that it is dead"


def test_an_upstream_that_comes_back_is_found_again() -> None:
    """The best one is down for a minute, and serves again soon after, without anybody's doing."""
    begins_us = SimulatedClock().at_us

    def down_for_a_minute(chance: object, now_us: int) -> Behaviour:
        down = now_us - begins_us < 60 * SECOND_US
        return Behaviour(0.01, UpstreamUnreachable("x")) if down else Behaviour(0.5)

    steady = one_each(("best", "other"))
    simulation = Simulation({"best": down_for_a_minute, "other": failing}, steady, seed=1, per_s=10)
    outcomes = simulation.run(rounds(6_000))
    assert sum(each.began for each in outcomes) >= len(outcomes) * 0.998
    assert outcomes[-1].attempts[0] == "best"
    assert sum(each.attempts.count("best") for each in outcomes if each.at_us - begins_us < 60 * SECOND_US) < 40
