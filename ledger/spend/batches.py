"""Group commit: what callers ask while one batch is being written becomes the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ledger.errors import DatabaseUnavailable, LedgerStopped
from ledger.spend.operations import Ledger, Operation, Outcome

_MAX_BATCH = 128
"""Measured: beyond it the rate no longer rises, and every caller waits for the whole batch."""

Abandoned = Callable[[Outcome], None]
_Caller = tuple[Operation, "asyncio.Future[Outcome]", Abandoned | None]


class Batches:
    """One writer for all callers of this process. Callers never cancel it: they only stop waiting."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[_Caller] = deque()
        self._written: list[_Caller] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write_all(), name="ledger-spend")

    def submit(self, operation: Operation, abandoned: Abandoned | None = None) -> asyncio.Future[Outcome]:
        """The outcome, once it is committed. Raises LedgerStopped before start and after close.

        Who waits for it may be cancelled: the operation is done all the same, and `abandoned` is told its outcome.
        """
        if self._writer is None or self._closing:
            raise LedgerStopped("this process takes no more spends; send it to another")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future, abandoned))
        self._wake.set()
        return future

    async def close(self) -> None:
        """Takes nothing more, writes what was taken."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting or not self._closing:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                size = min(len(self._waiting), _MAX_BATCH)
                self._written = [self._waiting.popleft() for _ in range(size)]
                await self._write(self._written)
        finally:
            self._closing = True
            for _, future, _ in (*self._written, *self._waiting):
                _fail(future, LedgerStopped("this process's ledger has stopped; ask another"))

    async def _write(self, callers: Sequence[_Caller]) -> None:
        try:
            outcomes = await self._ledger.apply([operation for operation, _, _ in callers])
        except DatabaseUnavailable as error:
            for _, future, _ in callers:
                _fail(future, error)
        except Exception as error:
            if len(callers) == 1:
                _fail(callers[0][1], error)
                return
            # Nothing of the batch was committed: alone, only the culprit fails.
            for caller in callers:
                await self._write([caller])
        else:
            for (_, future, abandoned), outcome in zip(callers, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
                elif abandoned is not None:
                    abandoned(outcome)


def _fail(future: asyncio.Future[Outcome], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
