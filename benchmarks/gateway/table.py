"""The figures as tables, and the issue's aims beside what was reached."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Column, Table

_AIMS = (("pass-through", 0.6), ("portkey", 3), ("litellm", 30))
_COLUMNS = {
    "requests_per_s": "req/s",
    "cpu_s_per_1000": "CPU s/1k",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "added_p50_ms": "+p50",
    "added_p99_ms": "+p99",
    "first_p50_ms": "first",
}
_SAID = "times in ms, + over direct; first: first bytes of the body at p50; CPU s of the gateway's processes"


def show(out: Console, results: dict[str, Any]) -> None:
    out.width = max(out.width, 100)
    titles = _COLUMNS.values()
    for setting, rows in results["settings"].items():
        table = Table(Column(setting, min_width=28), *(Column(name, justify="right") for name in titles), box=None)
        for name, row in rows.items():
            figures = [f"{row[key]:,.0f}" if key == "requests_per_s" else f"{row[key]:.2f}" for key in _COLUMNS]
            table.add_row(name, *figures)
        out.print(table)
    out.print(f"[dim]{_SAID}[/]")
    out.print("resident MB: " + ", ".join(f"{name} {size}" for name, size in results["rss_mb"].items()))
    for line in (*_ratios(results["settings"]), *_steady(results)):
        out.print(line)
    for name, reason in results["skipped"].items():
        out.print(f"[bold red]SKIPPED {name}[/]: {reason}", highlight=False)
    if results["skipped"]:
        out.print(f"{len(results['skipped'])} gateways were not measured")


def _ratios(settings: dict[str, Any]) -> list[str]:
    """The node's requests/s over each rival's, by setting."""
    lines = []
    for setting, rows in settings.items():
        if "node" not in rows or " at " in setting:
            continue
        ours = rows["node"]["requests_per_s"]
        ratios = [
            f"{ours / rows[name]['requests_per_s']:.2f} x {name} (aim {aim})" for name, aim in _AIMS if name in rows
        ]
        lines.append(f"node, {setting}: " + ", ".join(ratios))
    return lines


def _steady(results: dict[str, Any]) -> list[str]:
    return [
        f"{one['gateway']} over {one['slices'][-1]['requests']:,} requests: {one['slices'][0]['rss_mb']} MB after the"
        f" first slice, {one['slices'][-1]['rss_mb']} after the last, slope {one['slope_kb_per_1000']} kB per 1,000;"
        f" rows per request {one['rows_per_request']}"
        for one in results.get("steady", [])
    ]
