"""What is expected of an upstream follows what it shows, and forgets it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.routing.measures import (
    MOST_SAMPLES,
    SUCCESS_HALF_LIFE_US,
    Measured,
    Measures,
    Seen,
    estimated,
    faded,
    seed_of,
    with_call,
)
from ledger.clock import SECOND_US
from tests.engine.routing.models import model
from tests.engine.routing.simulation import SimulatedClock

MODEL, OTHER = model("up", "a"), model("up", "b")
SEED = seed_of(MODEL)
calls = st.lists(st.tuples(st.booleans(), st.floats(1, 60_000), st.floats(0.01, 500)), max_size=80)


@given(calls)
def test_an_estimate_lies_between_the_seed_and_what_was_seen(seen_calls: list[tuple[bool, float, float]]) -> None:
    """Whatever came in whatever order; and nothing is ever more than MOST_SAMPLES calls strong."""
    seen = Seen(0)
    for answered, first_token_ms, ms_per_token in seen_calls:
        seen = with_call(seen, answered=answered, first_token_ms=first_token_ms, ms_per_token=ms_per_token)
    found = estimated(seen, SEED)
    assert 0 <= found.success <= 1
    assert found.samples == min(len(seen_calls), MOST_SAMPLES)
    firsts = [SEED.first_token_ms, *(first for _, first, _ in seen_calls)]
    assert min(firsts) * 0.999 <= found.first_token_ms <= max(firsts) * 1.001


def test_many_calls_outweigh_the_seed_and_new_ones_the_old() -> None:
    measures = Measures(SimulatedClock())
    for _ in range(200):
        measures.answered(MODEL, took_ms=1_100, output_tokens=100, first_token_ms=100)
    fast = measures.of(MODEL)
    assert (fast.first_token_ms, fast.tokens_per_s) == pytest.approx((100, 100), rel=0.7)
    for _ in range(200):
        measures.answered(MODEL, took_ms=9_000, output_tokens=100, first_token_ms=4_000)
    assert measures.of(MODEL).first_token_ms > 3_000
    assert measures.of(OTHER) == SEED


def test_failures_are_forgotten_by_halves_and_times_later() -> None:
    """So that who was down is tried again, without anybody's doing."""
    clock = SimulatedClock()
    measures = Measures(clock)
    for _ in range(20):
        measures.failed(MODEL)
    down = measures.of(MODEL)
    assert down.success < 0.25
    clock.at_us += SUCCESS_HALF_LIFE_US
    assert measures.of(MODEL).samples == pytest.approx(down.samples / 2)
    clock.at_us += 9 * SUCCESS_HALF_LIFE_US
    assert measures.of(MODEL).success > 0.95
    measures.answered(OTHER, took_ms=1_000, output_tokens=10, first_token_ms=20)
    fast = measures.of(OTHER)
    clock.at_us += SUCCESS_HALF_LIFE_US
    assert measures.of(OTHER).first_token_ms == pytest.approx(fast.first_token_ms, rel=0.02)


def test_a_whole_answer_tells_its_pace_and_not_its_first_token() -> None:
    measures = Measures(SimulatedClock())
    measures.answered(MODEL, took_ms=SEED.first_token_ms + 500, output_tokens=100)
    found = measures.of(MODEL)
    assert found.first_token_ms == SEED.first_token_ms
    assert found.ms_per_token < SEED.ms_per_token
    measures.answered(MODEL, took_ms=1, output_tokens=0)
    assert measures.of(MODEL).ms_per_token == found.ms_per_token


@given(st.integers(-10, 10_000))
def test_a_clock_that_goes_back_makes_nothing_stronger(passed_s: int) -> None:
    seen = with_call(Seen(SECOND_US), answered=False)
    assert faded(seen, SECOND_US + passed_s * SECOND_US).success_weight <= seen.success_weight
    assert isinstance(estimated(seen, SEED), Measured)
