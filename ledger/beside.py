"""A thread beside the event loop, for what waits for a disk or for another process."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Beside:
    """Does one thing after another, in the order in which they were asked. Started by the first.

    A daemon: what waits behind a stopped process must not keep this one from ending, as a thread of the event loop's
    executor would. And half of what that costs: one queue, one call back.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """What it returns or raises. Cancelled, the work is done all the same."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._jobs.put((work, future, loop))
        return future

    def end(self) -> None:
        """After what was asked before."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, future, loop = job
            outcome: Any = None
            failure: BaseException | None = None
            try:
                outcome = work()
            except BaseException as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
                loop.call_soon_threadsafe(_tell, future, outcome, failure)


def _tell(future: asyncio.Future[Any], outcome: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(outcome)
    else:
        future.set_exception(failure)
