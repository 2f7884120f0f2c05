"""Promise 20: overhead is small and steady."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.gateway import nodes, rounds
from benchmarks.gateway.measured import Gateway, Setting
from benchmarks.gateway.processes import rss_bytes, started
from benchmarks.gateway.steady import rows
from tests.rounds import LONG

CONNECTIONS = (1, 50, 500) if LONG else (1, 50)
SLICES = 10 if LONG else 2
SECONDS = 3.0 if LONG else 0.6
OF_A_CALL = ("holds", "economic_events", "movements")
MOST_GROWTH_BYTES = 40_000_000


def test_overhead_is_small_and_steady(record_property: Callable[[str, object], None]) -> None:
    """With a fixed upstream, few and many at a time in turn: each request writes one hold, one event and one movement
    and nothing else, and memory stays about what it was. What is added, and how fast it goes, is printed and asserted
    nowhere (`python -m benchmarks.gateway --long` has the long run)."""
    with (
        started(["-m", "benchmarks.gateway.upstream"], dict(os.environ)) as (url, pid),
        nodes.on_sqlite(url) as node,
    ):
        direct = Gateway("direct", f"{url}/v1/chat/completions", (pid,))
        told = {count: _added(direct, node, count) for count in CONNECTIONS}
        memory, before = sum(map(rss_bytes, node.pids)), rows(node.database_url)
        for _ in range(SLICES):
            for count in CONNECTIONS:
                rounds.once(node, Setting("json", count), SECONDS)
        grown, after = sum(map(rss_bytes, node.pids)) - memory, rows(node.database_url)
    written = {table: after[table] - before[table] for table in after if after[table] != before[table]}
    calls = written["holds"]
    assert written.pop("budgets", 0) <= 2  # an hour, and a day, may have begun
    assert written == dict.fromkeys(OF_A_CALL, calls)
    assert grown < MOST_GROWTH_BYTES
    for count, figures in told.items():
        record_property(
            "figure",
            f"{count} in parallel: {figures['requests_per_s']:.0f}/s, {3 * figures['requests_per_s']:.0f} rows/s,"
            f" p50 +{figures['added_p50_ms']:.2f} ms, p99 +{figures['added_p99_ms']:.2f} ms",
        )
    record_property("figure", f"{grown / 1e3 / (calls / 1e3):.0f} kB for 1,000 requests, of {calls}")


def _added(direct: Gateway, node: Gateway, connections: int) -> dict[str, Any]:
    setting = Setting("json", connections)
    alone, through = rounds.once(direct, setting, SECONDS), rounds.once(node, setting, SECONDS)
    added = {f"added_{cut}": through[cut] - alone[cut] for cut in ("p50_ms", "p99_ms")}
    return through | added
