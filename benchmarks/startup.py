"""How soon a command answers and a node serves: medians of a few starts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agentnode.settings import load

_ROUNDS = 3


def measure(environment: dict[str, str]) -> dict[str, float]:
    """`help_s`: `agentnode --help`; `ready_s`: a node without a chain on an empty folder, until its ready line."""
    return {
        "help_s": round(statistics.median(_help(environment) for _ in range(_ROUNDS)), 2),
        "ready_s": round(statistics.median(_ready(environment) for _ in range(_ROUNDS)), 2),
    }


def _help(environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "agentnode.cli", "--help"], capture_output=True, check=True, env=environment)
    return time.perf_counter() - begun


def _ready(environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        settings = load({}, data=Path(folder) / "node", port=0, chain="none").model_dump_json()
        begun = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "agentnode"],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "AGENTNODE_SETTINGS": settings},
        )
        assert child.stdout is not None
        child.stdout.readline()
        took_s = time.perf_counter() - begun
        child.terminate()
        child.wait(timeout=30)
    return took_s
