"""A free A2A task (echo): this node, which keeps it in its database, beside a plain a2a-sdk server in memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agentnode.settings import load

ROUNDS = 5
CLIENTS = 32
REQUESTS = 1_500


@contextmanager
def _server(arguments: list[str], environment: dict[str, str]) -> Iterator[str]:
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        word, _, url = child.stdout.readline().strip().partition(" ")
        assert word == "ready", f"{arguments} did not start"
        yield url
    finally:
        child.terminate()
        child.wait(timeout=30)


def _load(url: str, requests: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", url, str(CLIENTS), str(requests)]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


def measure(environment: dict[str, str]) -> dict[str, Any]:
    """Medians of interleaved rounds, so that a slow minute of the machine falls on both."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = load({}, data=folder, port=0, chain="none").model_dump_json()
        servers = {
            "agentnode": stack.enter_context(
                _server(["-m", "agentnode"], {**environment, "AGENTNODE_SETTINGS": settings})
            ),
            "plain_a2a_sdk": stack.enter_context(_server(["-m", "benchmarks.plain_sdk_server"], environment)),
        }
        for url in servers.values():
            _load(url, 200)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, url in servers.items():
                rounds[name].append(_load(url, REQUESTS))
    medians = {
        name: {figure: statistics.median(one[figure] for one in runs) for figure in runs[0]}
        for name, runs in rounds.items()
    }
    ratio = medians["agentnode"]["requests_per_s"] / medians["plain_a2a_sdk"]["requests_per_s"]
    return {"clients": CLIENTS, "requests": REQUESTS, "median": medians, "ratio": round(ratio, 2), "rounds": rounds}
