"""Starts spend_worker.py as processes of their own, and ends them whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("spend_worker.py")
_HOUSE = _SCRIPT.parent.parent.parent


class Worker:
    def __init__(self, url: str, task: str, seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_SCRIPT), url, task, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_HOUSE,
            env=os.environ | {"PYTHONPATH": str(_HOUSE)},
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """What it printed when it was done."""
        assert self.process.stdout is not None
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
            worker.process.communicate()
