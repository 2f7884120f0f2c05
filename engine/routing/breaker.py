"""A breaker: when an upstream, or one of its models, is left alone, and when it is tried again. Times are handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ledger.clock import SECOND_US

FAILURES_IN_ROW = 6
UNDECIDED_PER_FAILURE = 2
"""It opens after six failures in a row, once no more than twice as many calls that were sent before the last of them
are still out: failures come back at once and answers take their time, so at first one sees only failures."""
LONGEST_OUT_US = 900 * SECOND_US
"""A call of which nothing was said by then does not count as one that may still answer."""
FIRST_REST_US = SECOND_US
LONGEST_REST_US = 30 * SECOND_US
"""It rests for a second, twice as long after each probe that fails, at most half a minute."""
PROBE_LEASE_US = 30 * SECOND_US
"""A probe that has not come back by then is followed by another."""
PROBE_HINT_US = SECOND_US // 4
"""While a probe is out, who waits looks again after so long."""
FIRST_WAIT_US = SECOND_US
LONGEST_OWN_WAIT_US = 30 * SECOND_US
"""At a limit that names no time: a second, twice as long each time, at most half a minute."""
LONGEST_ASKED_WAIT_US = 3_600 * SECOND_US
"""An upstream that asks for more is asked again after an hour."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One call at a time goes through, to see."""


@dataclass(slots=True)
class Breaker:
    """Counts what came of calls, each known by its number. A rate limit is no failure: it has its own wait."""

    out: dict[int, int] = field(default_factory=dict)
    """The calls that have shown nothing yet, ascending, and when they were sent."""
    failures_in_row: int = 0
    rests: int = 0
    """Since it last was closed."""
    rests_until_us: int | None = None
    """None while it is closed."""
    rests_since_us: int = 0
    suspect: bool = False
    """It may be about to open: half the failures that it takes are there, and no answer among them."""
    probe: int | None = None
    probe_until_us: int = 0
    busy_until_us: int = 0
    busy_in_row: int = 0

    def state(self, now_us: int) -> State:
        if self.rests_until_us is None:
            return State.CLOSED
        return State.OPEN if now_us < self.rests_until_us else State.HALF_OPEN

    def opens_at_us(self, now_us: int) -> int:
        """From when on a call may go through; now or earlier: it may."""
        if self.rests_until_us is None:
            return self.busy_until_us
        back_us = now_us + PROBE_HINT_US if now_us < self.probe_until_us else 0
        return max(self.busy_until_us, self.rests_until_us, back_us)

    def probed_at_us(self, now_us: int) -> int:
        """From when on a call may go through where nobody else is left: a rest is then no longer than the first."""
        if self.rests_until_us is None:
            return self.busy_until_us
        back_us = now_us + PROBE_HINT_US if now_us < self.probe_until_us else 0
        return max(self.busy_until_us, min(self.rests_until_us, self.rests_since_us + FIRST_REST_US), back_us)

    @property
    def is_doubtful(self) -> bool:
        return self.suspect or self.rests_until_us is not None

    def lets_through(self, call: int, now_us: int) -> None:
        """A call goes through. In a breaker that is not closed it is the probe, and others wait for what it shows."""
        self.out[call] = now_us
        self._forget_lost(now_us)
        if self.rests_until_us is not None:
            self.probe, self.probe_until_us = call, now_us + PROBE_LEASE_US

    def came_back(self, call: int) -> None:
        """The call ended and tells nothing."""
        self.out.pop(call, None)
        if self.probe == call:
            self.probe, self.probe_until_us = None, 0

    def succeeded(self, call: int, now_us: int) -> None:
        is_probe = self.probe == call
        self.came_back(call)
        if self.rests_until_us is not None:
            if not is_probe:
                return  # sent before it opened
            self.rests, self.rests_until_us = 0, None
        self.failures_in_row, self.busy_in_row, self.suspect = 0, 0, False

    def failed(self, call: int, now_us: int) -> None:
        is_probe = self.probe == call
        self.came_back(call)
        if self.rests_until_us is not None:
            if is_probe:
                self._rest(now_us)
            return
        self.failures_in_row += 1
        self.suspect = self.failures_in_row >= FAILURES_IN_ROW // 2 and not self._may_have_answered(call)
        if self.suspect and self.failures_in_row >= FAILURES_IN_ROW:
            self._rest(now_us)

    def busy(self, now_us: int, asked_us: int | None) -> None:
        """It is at its limit, for as long as it asks."""
        own_us = min(FIRST_WAIT_US << min(self.busy_in_row, 10), LONGEST_OWN_WAIT_US)
        wait_us = own_us if asked_us is None else min(asked_us, LONGEST_ASKED_WAIT_US)
        self.busy_in_row += 1
        self.busy_until_us = max(self.busy_until_us, now_us + wait_us)

    @property
    def is_idle(self) -> bool:
        """Nothing is out and nothing speaks against it, so it need not be remembered."""
        return not self.out and self.rests_until_us is None and not self.failures_in_row and not self.busy_in_row

    def _forget_lost(self, now_us: int) -> None:
        first = next(iter(self.out))
        if now_us - self.out[first] > LONGEST_OUT_US:
            del self.out[first]

    def _may_have_answered(self, call: int) -> bool:
        older = 0
        for each in self.out:
            if each > call:
                break
            older += 1
        return older > UNDECIDED_PER_FAILURE * self.failures_in_row

    def _rest(self, now_us: int) -> None:
        rest_us = min(FIRST_REST_US << min(self.rests, 10), LONGEST_REST_US)
        self.rests += 1
        self.rests_since_us, self.rests_until_us = now_us, now_us + rest_us
        self.failures_in_row = 0
