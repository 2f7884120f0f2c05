"""An upstream that fails is left alone, tried again by one call at a time, and nobody else suffers for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import (
    PromptRejected,
    StreamCut,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from engine.routing import Breakers
from engine.routing.breaker import (
    FAILURES_IN_ROW,
    FIRST_REST_US,
    LONGEST_ASKED_WAIT_US,
    LONGEST_REST_US,
    Breaker,
    State,
)
from engine.routing.breakers import KEPT, blamed
from ledger.clock import SECOND_US
from ledger.errors import InvalidInput
from tests.engine.routing.models import model
from tests.engine.routing.simulation import SimulatedClock

ONE, SAME_UPSTREAM, ELSEWHERE = model("up", "a"), model("up", "b"), model("other", "a")


class World:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.breakers = Breakers(self.clock)

    def fails(self, error: UpstreamError, times: int = 1) -> None:
        for _ in range(times):
            self.breakers.failed(ONE, self.breakers.lets_through(ONE), error)

    def answers(self) -> None:
        self.breakers.succeeded(ONE, self.breakers.lets_through(ONE))

    def open_for(self, of: object = ONE) -> float:
        return (self.breakers.opens_at_us(of) - self.clock.at_us) / SECOND_US  # type: ignore[arg-type]

    def passes(self, seconds: float) -> None:
        self.clock.at_us += int(seconds * SECOND_US)


def test_it_opens_after_failures_in_a_row_and_shuts_the_whole_upstream() -> None:
    world = World()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW - 1)
    world.answers()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW - 1)
    assert world.open_for() <= 0
    world.fails(UpstreamUnreachable("x"))
    assert world.open_for() == world.open_for(SAME_UPSTREAM) == FIRST_REST_US / SECOND_US
    assert world.open_for(ELSEWHERE) <= 0
    assert world.breakers.as_dict() == {"up": {"state": "open", "opens_in_ms": 1_000}}


def test_one_probe_at_a_time_decides_and_each_bad_one_doubles_the_rest() -> None:
    world = World()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW)
    for rest_s in (1, 2, 4, 8, 16, 30, 30):
        assert world.open_for() == rest_s
        world.passes(rest_s)
        assert world.open_for() <= 0
        probe = world.breakers.lets_through(ONE)
        assert world.open_for() > 0, "others wait for the probe"
        world.breakers.failed(ONE, probe, UpstreamTimedOut("x"))
    world.passes(LONGEST_REST_US / SECOND_US)
    probe = world.breakers.lets_through(ONE)
    world.breakers.came_back(ONE, probe)
    assert world.open_for() <= 0, "a probe whose caller went away lets the next one through"
    world.answers()
    assert world.open_for() <= 0 and "up" not in world.breakers.as_dict()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW)
    assert world.open_for() == 1


def test_a_probe_that_never_comes_back_is_followed_by_another() -> None:
    world = World()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW)
    world.passes(1)
    world.breakers.lets_through(ONE)
    world.passes(29)
    assert world.open_for() > 0
    world.passes(1)
    assert world.open_for() <= 0


def test_failures_that_only_came_back_first_do_not_open_it() -> None:
    """Of a hundred calls in flight the failing tenth is back at once: the others may still answer, and do."""
    world = World()
    calls = [world.breakers.lets_through(ONE) for _ in range(100)]
    for call in calls[::10]:
        world.breakers.failed(ONE, call, UpstreamError("x"))
    assert world.open_for() <= 0
    for call in calls[1::2]:
        world.breakers.failed(ONE, call, UpstreamError("x"))
    assert world.open_for() > 0, "most are back, and all failed"


def test_what_was_sent_before_it_opened_changes_nothing_after() -> None:
    world = World()
    late = [world.breakers.lets_through(ONE) for _ in range(3)]
    world.fails(UpstreamError("x"), FAILURES_IN_ROW)
    world.breakers.failed(ONE, late[0], UpstreamError("x"))
    world.breakers.succeeded(ONE, late[1])
    assert world.open_for() == 1


def test_a_limit_is_no_failure_and_has_its_own_wait() -> None:
    """Of this model only, for as long as the upstream asks, an hour at most."""
    world = World()
    world.fails(UpstreamBusy("x", retry_after_ms=7_000), 1)
    assert world.open_for() == 7
    assert world.open_for(SAME_UPSTREAM) <= 0
    world.passes(7)
    world.fails(UpstreamBusy("x"), 10 * FAILURES_IN_ROW)
    assert world.open_for() == 30, "where it names no time: doubling up to half a minute"
    assert world.breakers.as_dict()[ONE.id]["state"] == "closed"
    world.fails(UpstreamBusy("x", retry_after_ms=10**10))
    assert world.open_for() == LONGEST_ASKED_WAIT_US / SECOND_US


def test_an_overload_with_a_time_shuts_the_upstream_until_then() -> None:
    world = World()
    world.fails(UpstreamOverloaded("x", retry_after_ms=4_000))
    assert world.open_for() == world.open_for(SAME_UPSTREAM) == 4
    assert world.open_for(ELSEWHERE) <= 0


def test_a_model_that_its_upstream_does_not_have_shuts_itself_only() -> None:
    """Who names a model that is not there cannot shut the upstream for everybody."""
    world = World()
    world.fails(UpstreamRefused("404"), FAILURES_IN_ROW)
    assert world.open_for() == 1
    assert world.open_for(SAME_UPSTREAM) <= 0


def test_a_bad_prompt_speaks_against_nobody() -> None:
    world = World()
    world.fails(PromptRejected("x"), 100)
    assert world.open_for() <= 0
    assert world.breakers.as_dict() == {}


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (UpstreamError("x"), "upstream"),
        (UpstreamUnreachable("x"), "upstream"),
        (UpstreamTimedOut("x"), "upstream"),
        (StreamCut("x"), "upstream"),
        (UpstreamDenied("x"), "upstream"),
        (UpstreamRefused("x"), "model"),
        (UpstreamBusy("x"), "limit"),
        (PromptRejected("x"), "nobody"),
        (InvalidInput("x", "y"), "nobody"),
        (TimeoutError(), "nobody"),
    ],
)
def test_every_error_speaks_against_whom_it_should(error: Exception, blame: str) -> None:
    assert blamed(error) == blame


@given(st.lists(st.sampled_from(["send", "answer", "fail", "busy", "back", "second"]), max_size=60))
def test_whatever_happens_it_lets_a_call_through_in_the_end(story: list[str]) -> None:
    """A minute after the last event it is open to somebody, and at most one probe is out while it is half open."""
    breaker, now_us, out = Breaker(), SECOND_US, list[int]()
    for number, event in enumerate(story):
        if event == "send" and breaker.opens_at_us(now_us) <= now_us:
            breaker.lets_through(number, now_us)
            out.append(number)
            assert breaker.state(now_us) is not State.HALF_OPEN or breaker.opens_at_us(now_us) > now_us
        elif event == "second":
            now_us += SECOND_US
        elif out and event == "answer":
            breaker.succeeded(out.pop(0), now_us)
        elif out and event == "fail":
            breaker.failed(out.pop(0), now_us)
        elif out and event == "back":
            breaker.came_back(out.pop(0))
        elif event == "busy":
            breaker.busy(now_us, None)
    assert breaker.opens_at_us(now_us + 60 * SECOND_US) <= now_us + 60 * SECOND_US
    assert set(breaker.out) == set(out)


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    world = World()
    for number in range(KEPT + 10):
        made_up = model("up", f"m-{number}")
        world.breakers.succeeded(made_up, world.breakers.lets_through(made_up))
    assert len(world.breakers._all) <= KEPT + 2


def test_calls_that_were_lost_sight_of_do_not_keep_it_closed() -> None:
    """Nobody ended them, and after a quarter of an hour nobody waits for them."""
    world = World()
    for _ in range(30):
        world.breakers.lets_through(ONE)
    world.passes(901)
    for _ in range(30):
        world.answers()
    world.fails(UpstreamError("x"), FAILURES_IN_ROW)
    assert world.open_for() == 1
