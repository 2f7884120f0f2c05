"""The embedded chain as a process of its own, one for all tests of trust."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def chain_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The RPC URL of an embedded chain."""
    folder = tmp_path_factory.mktemp("chain")
    process = subprocess.Popen(
        [sys.executable, "-m", "agentnode.devchain", "--port", "0", "--data", str(folder), "--parent-pipe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "ready", f"the embedded chain did not start: {word} {url}"
        yield url
        process.stdin.close()
        process.wait(timeout=30)
    finally:
        process.kill()
