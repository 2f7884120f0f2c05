"""The whole gateway benchmark: starts the upstream and all gateways, measures, ends them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from rich.console import Console

from benchmarks.gateway import nodes, rivals, rounds, steady
from benchmarks.gateway.measured import SHAPES, Gateway, NotMeasured, Setting
from benchmarks.gateway.processes import rss_bytes, started

CONNECTIONS = (1, 32, 128)
PACED = Setting("json", 32, 500)
"""Below what all but LiteLLM can do, so that what is added is not the queue."""
_TOO_SLOW_TO_PACE = "litellm"


@contextlib.contextmanager
def passthrough(upstream_url: str) -> Iterator[Gateway]:
    with started(["-m", "benchmarks.gateway.passthrough", upstream_url], dict(os.environ)) as (url, pid):
        yield Gateway("pass-through", f"{url}/v1/chat/completions", (pid,))


STARTS: dict[str, Callable[[str], AbstractContextManager[Gateway]]] = {
    "pass-through": passthrough,
    "portkey": rivals.portkey,
    "litellm": rivals.litellm,
    "node": nodes.on_sqlite,
    "node-postgres": nodes.on_postgres,
}


def measure(out: Console, *, quick: bool = False, long: bool = False, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """`settings`: figures by load and gateway; `skipped`: who and why; `rss_mb`; with `long` also `steady`."""
    times, seconds = (1, 1.0) if quick else (3, 2.0)
    with ExitStack() as stack:
        upstream = stack.enter_context(started(["-m", "benchmarks.gateway.upstream"], dict(os.environ)))
        gateways = [Gateway("direct", f"{upstream[0]}/v1/chat/completions", (upstream[1],))]
        skipped: dict[str, str] = {}
        for name in only or STARTS:
            out.print(f"[dim]gateways: starting {name} …[/]")
            try:
                gateway = stack.enter_context(STARTS[name](upstream[0]))
                for shape in SHAPES:
                    rounds.once(gateway, Setting(shape, 16), seconds)
                gateways.append(gateway)
            except NotMeasured as reason:
                skipped[name] = str(reason)
                out.print(f"[bold red]SKIPPED {name}[/]: {reason}", highlight=False)

        def run(measured: list[Gateway], settings: list[Setting]) -> dict[str, Any]:
            return rounds.measure(
                measured, settings, times, seconds, lambda name: out.print(f"[dim]gateways: {name} …[/]")
            )

        results = run(gateways, [Setting(shape, count) for shape in SHAPES for count in CONNECTIONS])
        results |= run([one for one in gateways if one.name != _TOO_SLOW_TO_PACE], [PACED])
        answer = {
            "rounds": times,
            "seconds": seconds,
            "settings": results,
            "rss_mb": {one.name: round(sum(map(rss_bytes, one.pids)) / 1e6) for one in gateways},
            "skipped": skipped,
        }
        if long:
            answer["steady"] = [steady.measure(one, out) for one in gateways if one.name == "node"]
    return answer
