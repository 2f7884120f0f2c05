"""`make bench`: runs what is measured, prints a table, and writes one JSON file a run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import a2a, startup
from benchmarks.gateway import run as gateway
from benchmarks.gateway import table as gateway_table

_LIBRARIES = ("a2a-sdk", "fastapi", "starlette", "uvicorn", "uvloop", "pydantic", "sqlalchemy", "x402")
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    out = Console()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTNODE_", "P402_"))}
    out.print("[dim]starting nodes, from nothing …[/]")
    starts = startup.measure(environment)
    out.print("[dim]free A2A tasks, interleaved rounds …[/]")
    tasks = a2a.measure(environment)
    out.print("[dim]reserve and capture on one hot budget …[/]")
    spend = json.loads(_output("benchmarks.spend"))
    out.print("[dim]settlements, beside the x402 package's facilitator …[/]")
    settled = json.loads(_output("benchmarks.settlements"))
    gateways = gateway.measure(out)
    results = {"at": int(time.time()), "machine": _machine(), "startup": starts, "a2a_echo": tasks, "spend": spend}
    results |= {"gateway": gateways, "settlements": settled}
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{results['at']}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    _print(out, results)
    gateway_table.show(out, gateways)
    out.print(f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _print(out: Console, results: dict[str, Any]) -> None:
    tasks, starts, spend = results["a2a_echo"], results["startup"], results["spend"]
    table = Table(f"free A2A task, {tasks['clients']} clients", "requests/s", "p50 ms", "p99 ms", box=None)
    for name, row in tasks["median"].items():
        table.add_row(name, str(row["requests_per_s"]), str(row["p50_ms"]), str(row["p99_ms"]))
    out.print(table)
    out.print(f"agentnode / plain a2a-sdk: {tasks['ratio']} (median of {a2a.ROUNDS} interleaved runs)\n")
    out.print(f"agentnode --help {starts['help_s']} s; up --chain none ready in {starts['ready_s']} s\n")
    for database in ("sqlite", "postgres", "postgres_flush_2ms"):
        row = spend[database]
        if isinstance(row, str):
            out.print(f"[bold red]spend on {database}: {row}[/]")
            continue
        out.print(
            f"spend on {database.replace('_', ', ')}: {row['cycles_per_s']} reserve-and-capture cycles/s, "
            f"p50 {row['reserve_p50_ms']} ms, p99 {row['reserve_p99_ms']} ms (64 clients, one hot budget)"
        )
    _print_settlements(out, results["settlements"])
    out.print("\n" + ", ".join(f"{name} {value}" for name, value in results["machine"].items()), style="dim")


def _print_settlements(out: Console, chains: dict[str, Any]) -> None:
    table = Table("settlements", "at once", "settled", "per s", "RPC calls", "in exchanges", box=None)
    for chain, systems in chains.items():
        for system, figures in systems.items():
            if isinstance(figures, str):
                out.print(f"[bold red]settlements on {chain}: {figures}[/]")
                continue
            for name, row in figures.items():
                if "settled" not in row:
                    out.print(f"{name}, {system} on {chain}: p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms")
                    continue
                settled = f"{row['settled']:.0f} of {row['asked']}"
                cells = (settled, str(row["per_s"]), str(row["rpc"]), str(row["http"]))
                table.add_row(f"{system}, {chain}", name.removeprefix("at_"), *cells)
    out.print(table)


def _machine() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    cores = str(os.cpu_count())
    return {"python": platform.python_version(), "system": platform.platform(), "cores": cores, **libraries}


def _output(module: str) -> str:
    return subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
