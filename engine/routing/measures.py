"""How fast and how reliably each model answers here: moving estimates, begun with the catalog's figures."""

from __future__ import annotations

from typing import NamedTuple

from engine.catalog import Model
from ledger.clock import SECOND_US, Clock

SEED_SUCCESS = 0.98
SEED_SAMPLES = 5.0
"""What the figures that an estimate begins with count for, in calls."""
MOST_SAMPLES = 50.0
"""What is remembered at most, in calls: the newest of many counts for a fiftieth."""
KEPT = 10_000
SUCCESS_HALF_LIFE_US = 60 * SECOND_US
"""Failures count half after a minute, so that who was down is tried again soon after it is back."""
PACE_HALF_LIFE_US = 1_800 * SECOND_US
"""Times count half after half an hour."""


class Measured(NamedTuple):
    """What to expect of a model: its first token, its pace after it, and the share of calls that it answers."""

    first_token_ms: float
    ms_per_token: float
    success: float
    samples: float
    """Calls that the success rests on, the old ones counting less."""

    @property
    def tokens_per_s(self) -> float:
        return 1_000 / self.ms_per_token


class Seen(NamedTuple):
    """Weighted means of what was seen, each with the weight that is behind it at `at_us`."""

    at_us: int
    first_token_ms: float = 0.0
    first_token_weight: float = 0.0
    ms_per_token: float = 0.0
    pace_weight: float = 0.0
    success: float = 0.0
    success_weight: float = 0.0


def seed_of(model: Model) -> Measured:
    """The catalog's figures."""
    return Measured(float(model.seed_first_token_ms), 1_000 / model.seed_tokens_per_s, SEED_SUCCESS, 0.0)


def faded(seen: Seen, now_us: int) -> Seen:
    """The same means with the weight that is left of them now."""
    if now_us <= seen.at_us:
        return seen
    passed_us = now_us - seen.at_us
    pace_left = 0.5 ** (passed_us / PACE_HALF_LIFE_US)
    return Seen(
        now_us,
        seen.first_token_ms,
        seen.first_token_weight * pace_left,
        seen.ms_per_token,
        seen.pace_weight * pace_left,
        seen.success,
        seen.success_weight * 0.5 ** (passed_us / SUCCESS_HALF_LIFE_US),
    )


def with_call(
    seen: Seen, *, answered: bool, first_token_ms: float | None = None, ms_per_token: float | None = None
) -> Seen:
    """What is known after one more call, of which a time may be unknown."""
    first_token, first_token_weight = _joined(seen.first_token_ms, seen.first_token_weight, first_token_ms)
    pace, pace_weight = _joined(seen.ms_per_token, seen.pace_weight, ms_per_token)
    success, success_weight = _joined(seen.success, seen.success_weight, 1.0 if answered else 0.0)
    return Seen(seen.at_us, first_token, first_token_weight, pace, pace_weight, success, success_weight)


def estimated(seen: Seen, seed: Measured) -> Measured:
    """What was seen, joined with the seed as if that were SEED_SAMPLES calls."""
    return Measured(
        _with_seed(seen.first_token_ms, seen.first_token_weight, seed.first_token_ms),
        _with_seed(seen.ms_per_token, seen.pace_weight, seed.ms_per_token),
        _with_seed(seen.success, seen.success_weight, seed.success),
        seen.success_weight,
    )


class Measures:
    """The estimates of this process, by model id (which names the upstream too)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, Seen] = {}

    def of(self, model: Model) -> Measured:
        seen = self._seen.get(model.id)
        return seed_of(model) if seen is None else estimated(faded(seen, self._clock.now_us()), seed_of(model))

    def answered(
        self, model: Model, *, took_ms: float, output_tokens: int = 0, first_token_ms: float | None = None
    ) -> None:
        """A call that was answered. Of a whole answer only the time it took is known, not when it began."""
        begin_ms = self.of(model).first_token_ms if first_token_ms is None else first_token_ms
        pace = max(took_ms - begin_ms, 0.01) / output_tokens if output_tokens > 1 else None
        self._saw(model, answered=True, first_token_ms=first_token_ms, ms_per_token=pace)

    def failed(self, model: Model) -> None:
        """A call that the upstream did not answer as it should."""
        self._saw(model, answered=False)

    def _saw(self, model: Model, **call: float | bool | None) -> None:
        now_us = self._clock.now_us()
        seen = self._seen.get(model.id)
        if seen is None:
            if len(self._seen) >= KEPT:
                self._seen.clear()  # callers name models: what they name must not fill the memory
            seen = Seen(now_us)
        self._seen[model.id] = with_call(faded(seen, now_us), **call)  # type: ignore[arg-type]


def _joined(mean: float, weight: float, value: float | None) -> tuple[float, float]:
    if value is None:
        return mean, weight
    weight = min(weight + 1, MOST_SAMPLES)
    return mean + (value - mean) / weight, weight


def _with_seed(mean: float, weight: float, seed: float) -> float:
    return (mean * weight + seed * SEED_SAMPLES) / (weight + SEED_SAMPLES)
