"""A process of its own that spends: started by the tests, told to go by a line on its standard input."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import BudgetRefused, HoldEnded
from ledger.events import EventDraft
from ledger.spend import Spend

_CLIENTS = 25


async def main(url: str, task: str, seed: int) -> None:
    database = Database(url)
    spend = Spend(database, SystemClock(), f"worker-{seed}")
    await spend.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        print(json.dumps(await TASKS[task](spend, random.Random(seed))), flush=True)
    finally:
        await spend.close()
        await database.close()


async def equal(spend: Spend, _random: random.Random) -> dict[str, Any]:
    """1,250 reservations of 7 nanos."""
    return await _all(spend, [7] * 1250, lambda _hold, _amount, _index: _nothing())


async def mixed(spend: Spend, chance: random.Random) -> dict[str, Any]:
    """1,250 reservations of mixed amounts, every other one released, the rest captured at some of what was held."""
    captured = 0

    async def end(hold_id: str, amount: int, index: int) -> None:
        nonlocal captured
        if index % 2:
            await spend.release(hold_id)
            return
        actual = chance.randint(0, amount)
        event = EventDraft(kind="engine_call", tenant_id="t", upstream_cost_usd_nanos=actual)
        outcome = await spend.capture(hold_id, actual, event=event)
        captured += outcome.captured_usd_nanos

    told = await _all(spend, [chance.randint(1, 1_000_000_007) for _ in range(1250)], end)
    return told | {"captured": captured}


async def for_ever(spend: Spend, chance: random.Random) -> dict[str, Any]:
    """Reserves, sends, captures or releases until it is killed."""

    async def client() -> None:
        while True:
            amount = chance.randint(1, 1000)
            try:
                hold = await spend.reserve(tenant_id="t", budgets=["hot", "other"], amount_usd_nanos=amount)
            except BudgetRefused:
                continue
            event = EventDraft(kind="engine_call", tenant_id="t")
            if chance.random() < 0.3:
                await spend.release(hold.id)
                continue
            await spend.mark_sent(hold, floor_usd_nanos=amount // 3, event=event)
            await spend.capture(hold.id, amount // 2, fence=hold.fence, event=event)

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return {}


async def stands_still(spend: Spend, _random: random.Random) -> dict[str, Any]:
    """Sends under a hold, is stopped, and captures when it goes on."""
    hold = await spend.reserve(tenant_id="t", budgets=["hot"], amount_usd_nanos=100)
    event = EventDraft(kind="engine_call", tenant_id="t", input_tokens=9)
    await spend.mark_sent(hold, floor_usd_nanos=30, event=event)
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        await spend.capture(hold.id, 60, fence=hold.fence, event=event)
    except HoldEnded:
        correction = EventDraft(kind="correction", tenant_id="t", corrects=event.id, upstream_cost_usd_nanos=60)
        return {"event": event.id, "correction": await spend.record(correction)}
    return {"event": event.id}


async def _all(spend: Spend, amounts: list[int], end: Callable[[str, int, int], Awaitable[None]]) -> dict[str, Any]:
    """Each amount reserved once by some client, and ended as `end` does."""
    told: dict[str, Any] = {"held": 0, "held_nanos": 0, "refused": []}
    queue = list(enumerate(amounts))

    async def client() -> None:
        while queue:
            index, amount = queue.pop()
            try:
                hold = await spend.reserve(tenant_id="t", budgets=["hot"], amount_usd_nanos=amount)
            except BudgetRefused as refused:
                told["refused"].append((refused.asked_usd_nanos, refused.room_usd_nanos))
                continue
            told["held"] += 1
            told["held_nanos"] += amount
            await end(hold.id, amount, index)

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return told


async def _nothing() -> None:
    return None


TASKS = {"equal": equal, "mixed": mixed, "for_ever": for_ever, "stands_still": stands_still}

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
