"""The one thread that owns the chain: reads run on it one after another, and what waits to be sent shares a block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .chain import MOST_TRANSACTIONS, DevelopmentChain
from .envelope import RpcError

Result = TypeVar("Result")


class ChainOwner:
    """Of one event loop; from here on the chain is touched by no other thread, until stop() closes it."""

    def __init__(self, chain: DevelopmentChain) -> None:
        self.chain = chain
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain")
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []

    async def stop(self) -> None:
        await self.run(self.chain.close)
        self._thread.shutdown()

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def send(self, raw: bytes) -> bytes:
        """Puts a raw transaction into the next block; its hash once the block is written, or raises RpcError."""
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((raw, outcome))
        await self._send_waiting()
        return await outcome

    async def _send_waiting(self) -> None:
        # While the thread is busy others come to wait; whoever gets the thread first takes them all along.
        batch: list[tuple[bytes, asyncio.Future[bytes]]] = []

        def make_block() -> list[bytes | RpcError]:
            batch.extend(self._waiting[:MOST_TRANSACTIONS])
            del self._waiting[: len(batch)]
            return self.chain.send([raw for raw, _ in batch]) if batch else []

        try:
            outcomes = await self.run(make_block)
        except BaseException as error:
            for _, waiter in batch:
                if not waiter.done():
                    waiter.set_exception(error)
            raise
        for (_, waiter), outcome in zip(batch, outcomes, strict=True):
            if waiter.done():
                continue
            if isinstance(outcome, RpcError):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)
