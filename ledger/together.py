"""Group commit: what is asked while one batch is being written becomes the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ledger.errors import LedgerStopped, Unavailable

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")


class Together(Generic[_Asked, _Done]):
    """`commit` is given up to `most` at once and gives each its outcome, or the error that its caller is to see.

    Where it raises Unavailable, all of them are told so. Any other exception means that nothing was committed: then it
    is given each alone, so that only the culprit fails.
    """

    def __init__(self, commit: Callable[[list[_Asked]], Awaitable[Sequence[_Done | Exception]]], most: int) -> None:
        self.is_open = True
        """It takes more: until `close`, or until its writer dies."""
        self._commit = commit
        self._most = most
        self._waiting: deque[tuple[_Asked, asyncio.Future[_Done], Callable[[_Done], None] | None]] = deque()
        self._writer: asyncio.Task[None] | None = None

    def ask(self, asked: _Asked, abandoned: Callable[[_Done], None] | None = None) -> asyncio.Future[_Done]:
        """Its outcome, once it is committed. Raises LedgerStopped where nothing more is taken.

        Who waits for it may be cancelled: it is done all the same, and `abandoned` is told its outcome.
        """
        if not self.is_open:
            raise LedgerStopped("this process takes no more spends; send it to another")
        answer: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer, abandoned))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return answer

    async def close(self) -> None:
        """Takes nothing more, writes what was taken."""
        self.is_open = False
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        batch = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
                outcomes = await self._committed([asked for asked, _, _ in batch])
                for (_, answer, abandoned), outcome in zip(batch, outcomes, strict=True):
                    _tell(answer, outcome, abandoned)
        except BaseException:
            self.is_open = False
            for _, answer, _ in (*batch, *self._waiting):
                _tell(answer, LedgerStopped("this process's ledger has stopped; ask another"), None)
            raise

    async def _committed(self, batch: list[_Asked]) -> Sequence[_Done | Exception]:
        try:
            return await self._commit(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                return [error] * len(batch)
        return [outcome for asked in batch for outcome in await self._committed([asked])]


def _tell(answer: asyncio.Future[_Done], outcome: _Done | Exception, abandoned: Callable[[_Done], None] | None) -> None:
    if not answer.done():
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
    elif abandoned is not None and not isinstance(outcome, Exception):
        abandoned(outcome)
