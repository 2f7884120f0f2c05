"""Scripts of faults: which asking for which numbered request fails how, by a seed, so that a run can be told again.

A request is numbered by `#123` in its last message. The first asking of an upstream for it and each later one are
drawn apart, so that one who comes again may have luck.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.upstream.behaviour import Behaviour

_NUMBER = re.compile(r"#(\d+)")
_HANGS_S = 3_600.0
ANSWERS = ("answer", "lie", "dear")
"""What a caller can be given."""


@dataclass(frozen=True)
class Phase:
    """From the request `first` on these shares of askings fail; `delay_s` is what an answer takes, half to one and a
    half times."""

    first: int = 0
    error: float = 0.0
    """500"""
    overloaded: float = 0.0
    """503"""
    busy: float = 0.0
    """429 with Retry-After"""
    hang: float = 0.0
    """nothing comes, ever"""
    drop: float = 0.0
    """the connection is closed without an answer"""
    cut: float = 0.0
    """the answer breaks off in the middle, after the first token of a stream"""
    lie: float = 0.0
    """a whole answer with a count of tokens that cannot be"""
    dear: float = 0.0
    """a whole answer, billed at 100 tokens whatever was allowed"""
    delay_s: float = 0.0

    @property
    def shares(self) -> list[tuple[str, float]]:
        return [(name, getattr(self, name)) for name in _FAULTS]


_FAULTS = ("error", "overloaded", "busy", "hang", "drop", "cut", "lie", "dear")


@dataclass(frozen=True)
class FaultScript:
    """Of one upstream."""

    seed: int
    name: str
    phases: tuple[Phase, ...] = field(default=(Phase(),))
    retry_after: str = "1"

    @classmethod
    def of(cls, written: str) -> FaultScript:
        given = json.loads(written)
        return cls(**{**given, "phases": tuple(Phase(**phase) for phase in given["phases"])})

    def written(self) -> str:
        return json.dumps(asdict(self))

    def kind(self, number: int, asking: int = 1) -> str:
        """`answer`, or the name of a fault of Phase. `asking` counts from 1."""
        drawn = self._drawn("kind", number, asking)
        for name, share in self._phase(number).shares:
            if drawn < share:
                return name
            drawn -= share
        return "answer"

    def answers(self, number: int) -> bool:
        """Whoever asks here first is given an answer."""
        return self.kind(number) in ANSWERS

    def behaviour(self, number: int, asking: int) -> Behaviour:
        delay_s = self._phase(number).delay_s * (0.5 + self._drawn("delay", number, asking))
        match self.kind(number, asking):
            case "error":
                return Behaviour(status=500, delay_s=delay_s)
            case "overloaded":
                return Behaviour(status=503)
            case "busy":
                return Behaviour(status=429, retry_after=self.retry_after)
            case "hang":
                return Behaviour(delay_s=_HANGS_S)
            case "drop":
                return Behaviour(drop=True)
            case "cut":
                return Behaviour(delay_s=delay_s, cut_after=2)
            case "lie":
                return Behaviour(delay_s=delay_s, usage={"prompt_tokens": 10**8, "completion_tokens": 10**8})
            case "dear":
                return Behaviour(delay_s=delay_s, usage={"prompt_tokens": 10, "completion_tokens": 100})
        return Behaviour(delay_s=delay_s)

    def _phase(self, number: int) -> Phase:
        return self.phases[bisect_right(self.phases, number, key=lambda phase: phase.first) - 1]

    def _drawn(self, what: str, number: int, asking: int) -> float:
        """Evenly from 0 to 1."""
        said = f"{self.seed} {self.name} {what} {number} {asking}".encode()
        return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest()) / 2**64


DOWN = (Phase(overloaded=1.0), Phase(drop=1.0))
WEATHER = (
    *(Phase(error=0.005),) * 4,
    Phase(error=0.05),
    Phase(error=0.12, drop=0.04),
    Phase(busy=0.05, hang=0.02, cut=0.01),
    Phase(lie=0.05, dear=0.05, cut=0.02, error=0.02),
    *DOWN,
)
"""What an upstream's next hundreds of requests may be like."""


RANDOM_RETRY_AFTER = "0.1"
"""Seconds. Where two are down the third is at its limit for as long after each twentieth call: a run must end."""


def random_scripts(seed: int, names: Sequence[str], requests: int, delay_s: float) -> dict[str, FaultScript]:
    """Every 500 to 5,000 requests about half of the upstreams change their weather. They are never all down at once."""
    chance = random.Random(seed)
    phases: dict[str, list[Phase]] = {name: [] for name in names}
    now, first = [WEATHER[0]] * len(names), 0
    while first < requests:
        drawn = [chance.choice(WEATHER) if chance.random() < 0.5 else weather for weather in now]
        if all(weather in DOWN for weather in drawn):
            continue
        now = drawn
        for name, weather in zip(names, now, strict=True):
            phases[name].append(dataclasses.replace(weather, first=first, delay_s=delay_s))
        first += chance.randint(500, 5_000)
    return {name: FaultScript(seed, name, tuple(made), RANDOM_RETRY_AFTER) for name, made in phases.items()}


def number_of(messages: Sequence[dict[str, Any]]) -> int:
    """Of the request; 0 where it has none."""
    found = _NUMBER.search(str(messages[-1].get("content")))
    return int(found[1]) if found else 0
