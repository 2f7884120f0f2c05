"""Starts spend_worker.py as processes of their own, and ends them whatever happens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from tests.forked import Program


class Worker:
    def __init__(self, url: str, task: str, seed: int) -> None:
        self.process = Program("tests.ledger.spend_worker", url, task, str(seed))

    def wait_until_ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        self.process.tell("go")

    def told(self) -> dict[str, Any]:
        """What it printed when it was done."""
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert self.process.wait() == 0
        return told


@contextlib.contextmanager
def workers(url: str, task: str, count: int) -> Iterator[list[Worker]]:
    """Workers that all wait for their go."""
    started = [Worker(url, task, seed) for seed in range(count)]
    try:
        for worker in started:
            worker.wait_until_ready()
        yield started
    finally:
        for worker in started:
            worker.process.kill()
