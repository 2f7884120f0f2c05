"""Who listens to which task in this process: committed events come straight from the writer, as a hint.

A hint may be missed (another process wrote, or a slow listener's were dropped); the sequence shows the gap and the
database closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from agentnode.a2a.events import Event

Numbered = tuple[int, Event]
_MOST_WAITING = 512


class Listener:
    def __init__(self) -> None:
        self._waiting: list[Numbered] = []
        self._told = asyncio.Event()

    def tell(self, events: Sequence[Numbered]) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.extend(events)
        self._told.set()

    def take(self) -> list[Numbered]:
        taken, self._waiting = self._waiting, []
        self._told.clear()
        return taken

    async def wait(self, timeout_s: float) -> bool:
        """Whether something came within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._told.wait()
        except TimeoutError:
            return False
        return True


class Listeners:
    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    @contextlib.contextmanager
    def listening(self, task_id: str) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.setdefault(task_id, []).append(listener)
        try:
            yield listener
        finally:
            listening = self._listeners[task_id]
            listening.remove(listener)
            if not listening:
                del self._listeners[task_id]

    def tell(self, task_id: str, events: Sequence[Numbered]) -> None:
        for listener in self._listeners.get(task_id, ()):
            listener.tell(events)
