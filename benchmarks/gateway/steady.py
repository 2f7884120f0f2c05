"""A million requests to one node: does its memory grow, do its answers slow down, how many rows does it write."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gateway import rounds
from benchmarks.gateway.measured import Gateway, Setting
from benchmarks.gateway.processes import rss_bytes

REQUESTS = 1_000_000
CONNECTIONS = (1, 50, 500)
_SLICE_S = 10.0


def measure(gateway: Gateway, out: Console, requests: int = REQUESTS) -> dict[str, Any]:
    """Slices of 10 s, the numbers of connections in turn. `slope_kb_per_1000`: least squares over the second half."""
    done, slices = 0.0, []
    before = rows(gateway.database_url)
    while done < requests:
        setting = Setting("json", CONNECTIONS[len(slices) % len(CONNECTIONS)])
        figures = rounds.once(gateway, setting, _SLICE_S)
        done += figures["requests_per_s"] * _SLICE_S
        rss_mb = sum(map(rss_bytes, gateway.pids)) / 1e6
        slices.append(
            {"connections": setting.connections, "requests": round(done), "rss_mb": round(rss_mb, 1), **figures}
        )
        out.print(f"[dim]steady: {done:,.0f} requests, {rss_mb:.0f} MB, {figures['requests_per_s']:.0f}/s …[/]")
    late = slices[len(slices) // 2 :]
    return {
        "gateway": gateway.name,
        "slope_kb_per_1000": round(_slope([(one["requests"] / 1_000, one["rss_mb"] * 1_000) for one in late]), 2),
        "rows_per_request": {
            table: round((count - before.get(table, 0)) / done, 2)
            for table, count in rows(gateway.database_url).items()
            if count - before.get(table, 0) > done / 100
        },
        "slices": slices,
    }


def _slope(points: list[tuple[float, float]]) -> float:
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below


def rows(database_url: str) -> dict[str, int]:
    """Rows by table of a SQLite file; nothing for another database."""
    path = Path(database_url.removeprefix("sqlite:///"))
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
