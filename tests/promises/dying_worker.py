"""`python -m tests.promises.dying_worker DATABASE_URL UPSTREAM_API`: workers that die in the middle of their calls.

For each line with a seed on stdin it forks a worker, which makes calls in parallel and kills itself as by kill -9
before or after one of its ledger's operations, and prints how it ended: -9, or 0 where its calls were over before.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import traceback
from typing import Any

from engine import Call, CompletionRequest
from engine.errors import UpstreamError, UpstreamsShut
from ledger.database import Database
from ledger.spend import Captured, Hold, Spend
from tests.engine.world import World, ask, built

CALLS = 6
OPERATIONS = 3 * CALLS
"""About as many as the calls take in all: reserve, capture or release, and second attempts."""


class Fate:
    """Counts operations; dies at one of them."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._left, self._after = chance.randint(1, OPERATIONS), chance.random() < 0.5

    def before(self) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(self) -> None:
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def dying(fate: Fate) -> type[Spend]:
    class DyingSpend(Spend):
        async def reserve(self, **asked: Any) -> Hold:
            fate.before()
            hold = await super().reserve(**asked)
            fate.after()
            return hold

        async def capture(self, *asked: Any, **named: Any) -> Captured:
            fate.before()
            captured = await super().capture(*asked, **named)
            fate.after()
            return captured

        async def release(self, *asked: Any, **named: Any) -> None:
            fate.before()
            await super().release(*asked, **named)
            fate.after()

    return DyingSpend


async def work(database_url: str, api: str, seed: int) -> None:
    database = Database(database_url)
    async with built(database, api, owner=f"worker-{seed}", spends=dying(Fate(seed))) as world:
        await asyncio.gather(*(_call(world, CALLS * seed + place) for place in range(CALLS)))
    await database.close()


async def _call(world: World, number: int) -> None:
    request: CompletionRequest = ask(f"#{number} some words", max_tokens=64)
    try:
        if number % 2:
            async for _ in world.engine.stream(request, world.account, Call(f"req_{number}")):
                pass
        else:
            await world.engine.complete(request, world.account, Call(f"req_{number}"))
    except (UpstreamError, UpstreamsShut):
        pass


def main() -> None:
    database_url, api = sys.argv[1:]
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            try:
                asyncio.run(work(database_url, api, int(line)))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(worker, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
