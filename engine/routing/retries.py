"""The retry budget: how many calls may be second and third ones, so that a bad hour is not made worse by us."""

from __future__ import annotations

from ledger.clock import SECOND_US, Clock

SHARE = 0.2
"""Of a retry that each request adds: in the long run at most one in five is sent again."""
FLOOR_PER_S = 1.0
MOST = 1_000.0
"""Retries that may gather, and that there are at the start: when an upstream falls silent, all that were sent to it
before the first time-out go on elsewhere."""


class RetryBudget:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = MOST
        self._at_us = clock.now_us()

    @property
    def has_room(self) -> bool:
        self._refill(0.0)
        return self._left >= 1

    def request(self) -> None:
        """A request came."""
        self._refill(SHARE)

    def take(self) -> None:
        """It is sent once more."""
        self._left -= 1

    def _refill(self, earned: float) -> None:
        now_us = self._clock.now_us()
        passed_us = max(0, now_us - self._at_us)
        self._at_us = max(self._at_us, now_us)
        self._left = min(MOST, self._left + earned + FLOOR_PER_S * passed_us / SECOND_US)
