"""The one thread that owns the chain: reads run on it one after another, and what waits to be sent shares a block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .chain import MOST_TRANSACTIONS, DevelopmentChain

Result = TypeVar("Result")


class ChainOwner:
    """Of one event loop; from here on the chain is touched by no other thread, until stop() closes it."""

    def __init__(self, chain: DevelopmentChain) -> None:
        self.chain = chain
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain")
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        await self.run(self.chain.close)
        self._thread.shutdown()

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def send(self, raw: bytes) -> bytes:
        """Puts a raw transaction into the next block; its hash once the block is written, or raises RpcError."""
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((raw, outcome))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_waiting())
        return await outcome

    async def _send_waiting(self) -> None:
        # While one block is made others come to wait for the next.
        while self._waiting:
            batch = self._waiting[:MOST_TRANSACTIONS]
            del self._waiting[: len(batch)]
            try:
                outcomes = await self.run(self.chain.send, [raw for raw, _ in batch])
            except Exception as error:
                for _, waiter in batch:
                    _settle(waiter, error)
                continue
            for (_, waiter), outcome in zip(batch, outcomes, strict=True):
                _settle(waiter, outcome)


def _settle(waiter: asyncio.Future[bytes], outcome: bytes | Exception) -> None:
    if waiter.done():
        # Its client has gone away; the transaction is on the chain all the same.
        return
    if isinstance(outcome, Exception):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
