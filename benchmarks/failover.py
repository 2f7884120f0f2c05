"""`python -m benchmarks.failover [--long] [--requests N] [--seed S]`: a node over HTTP with no perfect upstream.

Short: one upstream dead, one failing 10%, one at its limit in 5%, hanging in 2% and breaking off in 1%. Long: 100,000
requests over three upstreams whose faults change by a random script, recorded, so that afterwards each request is
known that was ours to answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.scenarios.engine_load import Answer, Load, body_of
from tests.scenarios.engine_node import EngineNode, api, closed_port, new_key, running, settings_of, upstream_at
from tests.upstream import FakeUpstream, FaultScript, Phase, random_scripts, run_upstream

FIRST_BYTE_S = 2.0
"""The stated time-out: who is silent for longer has failed."""
DEADLINE_S = 30.0
CONNECTIONS = 48
PAUSE_S = 0.1
"""Each connection rests for up to so long, so that the node is not at its end and latencies say something."""
LEARNING = 200
"""Requests in which breakers learn."""
ANSWER_S = 0.02
MOST_ATTEMPTS = 3
NAMES = ("a", "b", "c")


@dataclass
class Run:
    """What was sent and what came of it. `asked`: by upstream and request, what the scripts made of each asking."""

    answers: list[Answer]
    attempts: dict[int, int]
    """of each request"""
    seconds: float
    asked: dict[str, dict[int, list[str]]]
    breakers: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """when, and what `route/explain` said of them"""

    @property
    def first_tokens(self) -> int:
        return sum(answer.first_s > 0 for answer in self.answers)

    @property
    def attempts_after_learning(self) -> int:
        return sum(made for number, made in self.attempts.items() if number > LEARNING)

    @property
    def failures(self) -> Counter[str]:
        """By code, those that got no first token."""
        return Counter(answer.code for answer in self.answers if not answer.first_s)

    @property
    def broken(self) -> int:
        """Streams that ended with an error after their first token."""
        return sum(answer.first_s > 0 and not answer.whole for answer in self.answers)


def no_perfect_upstream(requests: int, seed: int) -> Run:
    """The dead one looks best on paper, the one that hangs least."""
    failing = FaultScript(seed, "b", (Phase(error=0.1, delay_s=ANSWER_S),))
    limited = FaultScript(seed, "c", (Phase(busy=0.05, hang=0.02, cut=0.01, delay_s=ANSWER_S),))
    with closed_port() as dead, run_upstream(script=failing) as b, run_upstream(script=limited) as c:
        return _run(requests, {"a": dead, "b": b.api, "c": c.api}, {"b": b, "c": c})


def random_faults(requests: int, seed: int) -> tuple[Run, dict[str, FaultScript]]:
    """Three upstreams of which each has its own weather."""
    scripts = random_scripts(seed, NAMES, requests, ANSWER_S)
    with contextlib.ExitStack() as stack:
        started = {name: stack.enter_context(run_upstream(script=scripts[name])) for name in NAMES}
        return _run(requests, {name: one.api for name, one in started.items()}, started), scripts


def ours_that_failed(run: Run, scripts: dict[str, FaultScript]) -> list[Answer]:
    """Those without a first token for which an upstream would have answered whoever asked it first: three attempts
    suffice to ask all three, and the deadline for all to be silent once."""
    return [
        answer
        for answer in run.answers
        if not answer.first_s and any(script.answers(answer.number) for script in scripts.values())
    ]


def _run(requests: int, apis: dict[str, str], recording: dict[str, FakeUpstream]) -> Run:
    tables = [
        upstream_at(name, base_url, input_usd_per_mtok=round(0.10 + 0.05 * place, 2))
        for place, (name, base_url) in enumerate(apis.items())
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder), tables, upstream_first_byte_s=FIRST_BYTE_S, upstream_deadline_s=DEADLINE_S)
        key = new_key(settings)
        with running(settings) as node, api(node.url, key) as client, _watched(node, key) as breakers:
            load = Load([node.url], key, CONNECTIONS, pause_s=PAUSE_S)
            began = time.perf_counter()
            answers = asyncio.run(load.run(range(1, requests + 1)))
            seconds = time.perf_counter() - began
            attempts = {answer.number: _attempts(client, answer) for answer in answers}
            return Run(answers, attempts, seconds, {name: one.asked() for name, one in recording.items()}, breakers)


def _attempts(client: httpx.Client, answer: Answer) -> int:
    """As its metadata say; of one that failed as its trace does, whose last event has all attempts before it."""
    if answer.attempts:
        return len(answer.attempts)
    said = client.get(f"/requests/{answer.request_id}/trace")
    events = said.json()["events"] if said.is_success else []
    before = max((len(event["trace"].get("attempts", ())) + 1 for event in events), default=0)
    # What reaches nobody is no event: the last attempt of a request that ended so is not in the trace.
    return before + (answer.code == "UPSTREAM_UNREACHABLE")


@contextlib.contextmanager
def _watched(node: EngineNode, key: str) -> Iterator[list[tuple[float, dict[str, Any]]]]:
    """Asks for the breakers' states ten times a second."""
    seen: list[tuple[float, dict[str, Any]]] = []
    over = threading.Event()
    began = time.perf_counter()

    def watch() -> None:
        with api(node.url, key) as client:
            while not over.wait(0.1):
                said = client.post("/route/explain", json=body_of(0, False)).json()
                seen.append((time.perf_counter() - began, said["breakers"]))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def report(run: Run) -> dict[str, Any]:
    """Figures, in the order in which they are read."""
    served = [answer for answer in run.answers if answer.metadata]
    return {
        "requests": len(run.answers),
        "requests_per_s": round(len(run.answers) / run.seconds),
        "first_token": run.first_tokens,
        "failed": dict(run.failures),
        "broken_after_first_token": run.broken,
        "attempts": sum(run.attempts.values()),
        "attempts_after_learning": run.attempts_after_learning,
        "most_attempts": max(run.attempts.values()),
        "first_token_ms": {
            f"{made} attempt{'s' if made > 1 else ''}": _quantiles(
                [answer.first_s * 1_000 for answer in served if len(answer.attempts) == made]
            )
            for made in range(1, MOST_ATTEMPTS + 1)
        },
        "added_ms": _quantiles(
            [
                answer.metadata["latency_ms"] - answer.metadata["provider_latency_ms"]
                for answer in served
                if len(answer.attempts) == 1
            ]
        ),
        "breakers": _breakers(run.breakers),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {"count": len(values), "p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def _breakers(seen: list[tuple[float, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By upstream or model: when it first was not closed, and for which part of the time; the same of waits."""
    names = sorted({name for _, states in seen for name in states})
    told: dict[str, dict[str, Any]] = {}
    for name in names:
        is_shut: Callable[[dict[str, Any]], bool] = lambda one: one["state"] != "closed"  # noqa: E731
        waits: Callable[[dict[str, Any]], bool] = lambda one: one["state"] == "closed" and one["opens_in_ms"] > 0  # noqa: E731
        shut = [at for at, states in seen if name in states and is_shut(states[name])]
        waiting = [at for at, states in seen if name in states and waits(states[name])]
        told[name] = {
            "open_first_at_s": round(shut[0], 1) if shut else None,
            "open_share": round(len(shut) / len(seen), 3),
            "waiting_share": round(len(waiting) / len(seen), 3),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover")
    parser.add_argument("--long", action="store_true", help="100,000 requests under a random script of faults")
    parser.add_argument("--requests", type=int, help="so many instead of 10,000, or 100,000")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.long:
        run, scripts = random_faults(given.requests or 100_000, given.seed)
        ours = ours_that_failed(run, scripts)
        told = report(run) | {
            "ours_that_failed": len(ours),
            "nobody_would_have_answered": sum(
                not any(script.answers(answer.number) for script in scripts.values()) for answer in run.answers
            ),
            "which": [_story(run, answer) for answer in ours[:50]],
        }
    else:
        told = report(no_perfect_upstream(given.requests or 10_000, given.seed))
    sys.stdout.write(json.dumps({"seed": given.seed, **told}, indent=2) + "\n")


def _story(run: Run, answer: Answer) -> str:
    asked = {name: kinds[answer.number] for name, kinds in run.asked.items() if answer.number in kinds}
    return f"#{answer.number} {answer.status} {answer.code} after {answer.took_s:.2f} s: {asked}"


if __name__ == "__main__":
    main()
