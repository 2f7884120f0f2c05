"""Interleaved rounds: each gateway in turn under the same load, so that a slow minute of the machine falls on all."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.gateway.load import Orders
from benchmarks.gateway.measured import Gateway, NotMeasured, Setting
from benchmarks.gateway.processes import cpu_s

BODY = {
    "model": "m1",
    "messages": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Say eighteen words about nothing in particular, please."},
    ],
    "max_tokens": 64,
}


def measure(
    gateways: list[Gateway], settings: list[Setting], rounds: int, seconds: float, said: Callable[[str], None]
) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over the rounds: by setting, by gateway, what `once` returns and what was added to `direct`."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    for setting in settings:
        said(setting.name)
        runs: dict[str, list[dict[str, float]]] = {gateway.name: [] for gateway in gateways}
        for number in range(rounds):
            turned = gateways[number % len(gateways) :] + gateways[: number % len(gateways)]
            for gateway in turned:
                runs[gateway.name].append(once(gateway, setting, seconds))
        medians = {name: _median(rows) for name, rows in runs.items()}
        results[setting.name] = {name: row | _added(row, medians.get("direct")) for name, row in medians.items()}
    return results


def once(gateway: Gateway, setting: Setting, seconds: float) -> dict[str, float]:
    """One gateway under one load: the load's figures, and the gateway's CPU seconds for 1,000 requests."""
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if setting.shape == "sse" else {}
    orders = Orders(gateway.url, gateway.headers, BODY | streamed, setting.connections, seconds, setting.rate_per_s)
    before = sum(map(cpu_s, gateway.pids))
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway.load"],
        input=json.dumps(asdict(orders)),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise NotMeasured(f"{gateway.name}: the load broke: {child.stderr[-1_000:]}")
    figures: dict[str, Any] = json.loads(child.stdout)
    used_s = sum(map(cpu_s, gateway.pids)) - before
    if figures["failed"] or not figures["requests"]:
        raise NotMeasured(f"{gateway.name} failed {figures['failed']} requests: {figures['failure']}")
    served = figures["requests_per_s"] * figures["seconds"]
    kept = ("requests_per_s", "p50_ms", "p99_ms", "first_p50_ms")
    return {name: figures[name] for name in kept} | {"cpu_s_per_1000": round(used_s * 1_000 / served, 3)}


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def _added(row: dict[str, float], direct: dict[str, float] | None) -> dict[str, float]:
    if direct is None:
        return {}
    return {f"added_{cut}": round(row[cut] - direct[cut], 3) for cut in ("p50_ms", "p99_ms")}
