"""A worker of its own for tests: `python -m tests.engine.worker DATABASE_URL UPSTREAM_API CALLS` makes calls at once.

Prints `ready`, waits for a line on stdin, then makes the calls in parallel and prints how each kind of end went.
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys

from engine import Call, CompletionRequest
from engine.errors import FundsInsufficient
from ledger.database import Database
from tests.engine.world import ONCE, World, ask, built

UNIT = ask("one unit of work", max_tokens=100)


async def main(database_url: str, api: str, calls: int) -> None:
    database = Database(database_url)
    async with built(database, api, owner="worker") as world:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        ends = await asyncio.gather(*(_end_of(world, UNIT, number) for number in range(calls)))
        print(json.dumps(collections.Counter(ends)), flush=True)
    await database.close()


async def _end_of(world: World, request: CompletionRequest, number: int) -> str:
    try:
        await world.engine.complete(request, world.account, Call(f"req_{number}"), ONCE)
    except FundsInsufficient:
        return "refused"
    return "done"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
