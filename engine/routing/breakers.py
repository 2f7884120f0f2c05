"""The breakers of this process: one for each upstream, one for each of its models, and whom an error speaks against."""

from __future__ import annotations

from typing import Any, Literal

from engine.catalog import Model
from engine.errors import (
    PromptRejected,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
)
from engine.routing.breaker import Breaker
from ledger.clock import Clock

KEPT = 10_000


def blamed(error: BaseException) -> Literal["upstream", "model", "limit", "nobody"]:
    """Whom an error speaks against.

    A limit and a refusal are the model's, so that one model which an upstream lacks does not shut the whole upstream;
    what the request itself brought about is nobody's.
    """
    match error:
        case PromptRejected():
            return "nobody"
        case UpstreamBusy():
            return "limit"
        case UpstreamOverloaded() | UpstreamDenied():
            return "upstream"
        case UpstreamRefused():
            return "model"
        case UpstreamError():
            return "upstream"
        case _:
            return "nobody"


class Breakers:
    """By upstream and by model id; a call goes through where both let it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, Breaker] = {}
        self._calls = 0

    def opens_at_us(self, model: Model) -> int:
        """From when on a call may go to the model; now or earlier: it may."""
        now_us = self._clock.now_us()
        return max([breaker.opens_at_us(now_us) for breaker in self._of(model)], default=0)

    def busy_until_us(self, model: Model) -> int:
        """Until when the model, or its upstream, asked to be left alone."""
        return max([breaker.busy_until_us for breaker in self._of(model)], default=0)

    def probed_at_us(self, model: Model) -> int:
        """From when on a call may go to the model where nobody else is left."""
        now_us = self._clock.now_us()
        return max([breaker.probed_at_us(now_us) for breaker in self._of(model)], default=0)

    def is_doubtful(self, model: Model) -> bool:
        """It rests, has not answered since, or is about to."""
        return any(breaker.is_doubtful for breaker in self._of(model))

    def lets_through(self, model: Model) -> int:
        """A call goes to the model; the number is its own. One of `succeeded`, `failed`, `came_back` ends it."""
        now_us = self._clock.now_us()
        self._calls += 1
        for name in (model.provider, model.id):
            breaker = self._all.get(name) or self._made(name)
            breaker.lets_through(self._calls, now_us)
        return self._calls

    def came_back(self, model: Model, call: int) -> None:
        """The call ended before its upstream could show anything."""
        for breaker in self._of(model):
            breaker.came_back(call)

    def succeeded(self, model: Model, call: int) -> None:
        now_us = self._clock.now_us()
        for breaker in self._of(model):
            breaker.succeeded(call, now_us)

    def failed(self, model: Model, call: int, error: BaseException) -> None:
        """Whoever the error speaks against; to the other of the two it tells nothing."""
        now_us = self._clock.now_us()
        asked_ms = error.retry_after_ms if isinstance(error, UpstreamError) else None
        asked_us = None if asked_ms is None else asked_ms * 1_000
        blame = blamed(error)
        name = model.provider if blame == "upstream" else model.id
        breaker = self._all.get(name)
        if breaker is not None and blame in ("upstream", "model"):
            breaker.failed(call, now_us)
        if breaker is not None and (blame == "limit" or (blame == "upstream" and asked_us is not None)):
            breaker.busy(now_us, asked_us)
        self.came_back(model, call)

    def as_dict(self) -> dict[str, Any]:
        """What is not simply closed, for the explanation and the printouts."""
        now_us = self._clock.now_us()
        return {
            name: {"state": breaker.state(now_us), "opens_in_ms": max(0, breaker.opens_at_us(now_us) - now_us) // 1_000}
            for name, breaker in sorted(self._all.items())
            if not breaker.is_idle
        }

    def _of(self, model: Model) -> list[Breaker]:
        return [breaker for name in (model.provider, model.id) if (breaker := self._all.get(name)) is not None]

    def _made(self, name: str) -> Breaker:
        if len(self._all) >= KEPT:  # callers name models: what they name must not fill the memory
            self._all = {name: breaker for name, breaker in self._all.items() if not breaker.is_idle}
        return self._all.setdefault(name, Breaker())
