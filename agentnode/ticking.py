"""What goes on beside the requests. APScheduler only ticks: what is due is claimed in the database, so that two workers
never do the same thing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

_log = logging.getLogger(__name__)

Tick = tuple[float, Callable[[], Awaitable[Any]]]
"""Seconds, and what is done each time that they have passed."""


class Opened(Protocol):
    """A room that a node has opened: it has work to do beside its requests, starts, and stops."""

    @property
    def ticks(self) -> tuple[Tick, ...]: ...

    def running(self) -> AbstractAsyncContextManager[None]: ...


@contextlib.contextmanager
def scheduled(ticks: Sequence[Tick]) -> Iterator[None]:
    """Call each of `(seconds, what)` at its interval, never twice at once, while the block lasts."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    # A busy process is late; by default a round that is late by a second would be left out.
    scheduler = AsyncIOScheduler(job_defaults={"misfire_grace_time": None, "max_instances": 1, "coalesce": True})
    for interval_s, what in ticks:
        scheduler.add_job(_quietly, "interval", [what], seconds=interval_s)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work`, which ends by itself only when it is cancelled, while the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _quietly(what: Callable[[], Awaitable[Any]]) -> None:
    """A round that fails is logged and comes again."""
    try:
        await what()
    except Exception as error:
        _log.warning("%s failed and comes again: %s", getattr(what, "__qualname__", what), error)
