"""Group commit: what is asked while one batch is being written becomes the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")


class Together(Generic[_Asked, _Done]):
    """`commit` is given up to `most` at once and gives each its outcome, or the error that its caller is to see."""

    def __init__(self, commit: Callable[[list[_Asked]], Awaitable[list[_Done | Exception]]], most: int) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[tuple[_Asked, asyncio.Future[_Done]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def ask(self, asked: _Asked) -> _Done:
        """Its outcome. Who waits for it may be cancelled: it is done all the same."""
        answer: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
            try:
                outcomes = await self._commit([asked for asked, _ in batch])
            except Exception as error:
                outcomes = [error] * len(batch)
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if answer.done():
                    continue
                if isinstance(outcome, Exception):
                    answer.set_exception(outcome)
                else:
                    answer.set_result(outcome)
