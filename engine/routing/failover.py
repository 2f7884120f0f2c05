"""What comes next for a request: whom to try, how long to wait, or with which error to give up. Decided, not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.catalog import Model
from engine.errors import (
    PromptRejected,
    StreamCut,
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamsShut,
    UpstreamUnreachable,
)
from engine.options import Options
from engine.routing.breakers import blamed
from engine.routing.candidate import Candidate
from ledger.clock import SECOND_US
from ledger.errors import AgentNodeError, InvalidInput

MOST_ATTEMPTS = 3
PAUSE_S = 0.1
"""Before the same model is asked again at the same upstream; twice as long before the third time."""
SOON_US = 2 * SECOND_US
"""So long is waited for who was not tried, rather than to ask again who failed."""
PATIENCE_US = 10 * SECOND_US
"""Who would have to wait longer for anybody to open is told so, unless it asked to `queue` for a limit."""
LOOK_AGAIN_S = 0.5
"""A wait is cut into such pieces: a probe that comes back opens earlier."""


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that was made and did not succeed. `began`: a part of its answer has reached the caller."""

    candidate: Candidate
    error: AgentNodeError
    began: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """Ask this one, after a pause, knowing that so many attempts (this one too) may still be made."""

    candidate: Candidate
    pause_s: float
    attempts_left: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody may be asked now; ask again what comes next after so long."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    error: AgentNodeError


Step = Try | Wait | GiveUp


class Doors(Protocol):
    """When a model may be asked (`Breakers`)."""

    def opens_at_us(self, model: Model) -> int: ...

    def busy_until_us(self, model: Model) -> int: ...

    def probed_at_us(self, model: Model) -> int: ...

    def is_doubtful(self, model: Model) -> bool: ...


def next_step(
    candidates: Sequence[Candidate],
    attempts: Sequence[FailedCall],
    options: Options,
    *,
    now_us: int,
    deadline_us: int,
    patient_until_us: int,
    doors: Doors,
    may_retry: bool,
) -> Step:
    """`candidates` are the ranking, best first, of one at least; `may_retry`: the retry budget has room;
    `patient_until_us`: until when it waits for anybody to open.

    In this order: who was not tried, elsewhere than where it failed; who was not tried at all; in the last attempt, or
    where all that were tried seem down, who was not tried and is soon past its limit (or, if they seem down, may soon
    be probed); who was tried the least; who has not answered since it failed (a first attempt takes such a one in its
    place, as the probe: there are others left then); whoever opens first before the deadline.
    """
    last = attempts[-1] if attempts else None
    if last is not None and not may_go_on(last, options, len(attempts), may_retry):
        return GiveUp(last.error)
    if now_us >= deadline_us:
        return GiveUp(last.error if last else _all_shut(None))
    own = candidates if options.failover else candidates[:1]
    attempts_left = MOST_ATTEMPTS - len(attempts) if options.failover else 1
    if options.rate_limit_strategy != "switch":
        step = _at_its_limit(own, last, options, now_us, deadline_us, doors, attempts_left)
        if step is not None:
            return step
    tried = Counter(attempt.candidate.model.id for attempt in attempts)
    failed_at = {each.candidate.model.provider for each in attempts if blamed(each.error) == "upstream"}
    second: Candidate | None = None
    for candidate in own:
        model = candidate.model
        if model.id in tried or doors.opens_at_us(model) > now_us or (attempts and doors.is_doubtful(model)):
            continue
        if model.provider not in failed_at:
            return Try(candidate, 0.0, attempts_left)
        second = second or candidate
    if second is not None:
        return Try(second, 0.0, attempts_left)
    hopeless = {each.candidate.model.id for each in attempts if not _passes(each.error)}
    left = [each for each in own if each.model.id not in hopeless]
    until_us = min(deadline_us, patient_until_us)
    if attempts:
        step = _fresh(
            left, attempts, attempts_left == 1, now_us, min(until_us, patient_until_us - PATIENCE_US + SOON_US), doors
        )
        if step is not None:
            return step
    again = [each for each in left if doors.opens_at_us(each.model) <= now_us]
    again = again or [each for each in left if doors.probed_at_us(each.model) <= now_us]
    if again:
        candidate = min(again, key=lambda each: (doors.is_doubtful(each.model), tried[each.model.id]))
        pause_s = PAUSE_S * 2 ** (tried[candidate.model.id] - 1) if candidate.model.id in tried else 0.0
        return Try(candidate, pause_s, attempts_left)
    first_us = min((doors.probed_at_us(each.model) for each in left), default=deadline_us)
    if first_us < until_us:
        return _wait(first_us, now_us)
    if last is None and all(_waits_at_its_limit(each.model, doors, now_us) for each in left):
        wait_ms = max(1_000, (first_us - now_us) // 1_000)
        return GiveUp(UpstreamBusy("all that could serve this are at their rate limits", retry_after_ms=wait_ms))
    return GiveUp(last.error if last else _all_shut(first_us - now_us))


def _waits_at_its_limit(model: Model, doors: Doors, now_us: int) -> bool:
    return doors.busy_until_us(model) > now_us and not doors.is_doubtful(model)


def _fresh(
    left: Sequence[Candidate], attempts: Sequence[FailedCall], is_last: bool, now_us: int, until_us: int, doors: Doors
) -> Try | Wait | None:
    """Who was not tried and may not be asked yet, where that is better than to ask those again who failed."""
    tried, down = {each.candidate.model.id for each in attempts}, _down(attempts)
    fresh = [each for each in left if each.model.id not in tried]
    at_limits = [each for each in fresh if not doors.is_doubtful(each.model)]
    resting = [each for each in fresh if doors.is_doubtful(each.model)]
    may_help = any(
        each.model.id in tried - down and not doors.is_doubtful(each.model) and doors.opens_at_us(each.model) <= now_us
        for each in left
    )
    for group in (at_limits if is_last or not may_help else (), resting if not may_help else ()):
        first = min(group, key=lambda each: doors.probed_at_us(each.model), default=None)
        if first is None:
            continue
        opens_us = doors.probed_at_us(first.model)
        if opens_us <= now_us:
            return Try(first, 0.0, MOST_ATTEMPTS - len(attempts))
        if opens_us < until_us:
            return _wait(opens_us, now_us)
    return None


def _down(attempts: Sequence[FailedCall]) -> set[str]:
    """The models that seem down by what this request saw: they say so (503), or twice gave no answer at all."""
    lost = Counter(
        each.candidate.model.id for each in attempts if isinstance(each.error, StreamCut | UpstreamUnreachable)
    )
    said = {each.candidate.model.id for each in attempts if isinstance(each.error, UpstreamOverloaded)}
    return said | {name for name, times in lost.items() if times > 1}


def may_go_on(last: FailedCall, options: Options, made: int, may_retry: bool) -> bool:
    """Whether another attempt may follow this one, the `made`th, once somebody is found for it."""
    if last.began or made >= MOST_ATTEMPTS or not may_retry or isinstance(last.error, PromptRejected):
        return False
    if not isinstance(last.error, UpstreamError | InvalidInput):
        return False  # a budget or the guard refused: others would be refused too
    if isinstance(last.error, UpstreamBusy):
        return options.rate_limit_strategy == "queue" or (options.failover and options.rate_limit_strategy == "switch")
    return options.failover


def _at_its_limit(
    own: Sequence[Candidate],
    last: FailedCall | None,
    options: Options,
    now_us: int,
    deadline_us: int,
    doors: Doors,
    attempts_left: int,
) -> Step | None:
    """With `queue` and `fail`: what comes next where the chosen one is at its limit; None where it is not."""
    if last is not None and not isinstance(last.error, UpstreamBusy):
        return None
    chosen = last.candidate if last is not None else own[0]
    busy_us = doors.busy_until_us(chosen.model)
    if busy_us <= now_us:
        return Try(chosen, 0.0, attempts_left) if last is not None else None
    if options.rate_limit_strategy == "queue" and busy_us < deadline_us:
        return _wait(busy_us, now_us)
    if options.rate_limit_strategy == "queue" and options.failover:
        return None
    wait_ms = (busy_us - now_us) // 1_000
    if last is not None:
        return GiveUp(last.error)
    return GiveUp(UpstreamBusy(f"{chosen.model.provider} is at its rate limit", retry_after_ms=wait_ms))


def _passes(error: AgentNodeError) -> bool:
    """Whether the same call can succeed a moment later."""
    if isinstance(error, UpstreamRefused):
        return isinstance(error, UpstreamBusy | UpstreamOverloaded)
    return isinstance(error, UpstreamError)


def _wait(until_us: int, now_us: int) -> Wait:
    return Wait(min((until_us - now_us) / SECOND_US, LOOK_AGAIN_S))


def _all_shut(wait_us: int | None) -> AgentNodeError:
    return UpstreamsShut(
        "all upstreams that could serve this rest after failures, or wait at their limits",
        retry_after_ms=None if wait_us is None else max(1_000, wait_us // 1_000),
    )
