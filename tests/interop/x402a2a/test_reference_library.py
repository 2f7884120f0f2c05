"""The reference library of a2a-x402 buys a task, and the x402 of its time an HTTP request, both unmodified.

Run by `make interop X402A2A=DIR`, a checkout of google-agentic-commerce/a2a-x402 at 6db2a01, in an environment of its
own (.interop/x402a2a): it needs an a2a-sdk and an x402 older than ours. It takes the token's `nonces(owner)` for the
authorisation's nonce, which is 0 each time: every purchase has a wallet of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WORKSHOP = ROOT / ".interop" / "x402a2a"
UV = ROOT / ".tools" / "bin" / "uv"
CHECKOUT = os.environ.get("X402A2A", "")

pytestmark = pytest.mark.skipif(
    not CHECKOUT or not UV.exists(),
    reason="SKIPPED the reference library of a2a-x402: X402A2A names no checkout, or .tools/bin/uv is missing",
)


@pytest.fixture(scope="module")
def python() -> Path:
    """Of the environment, made once, and again when the lock has changed."""
    stamp, lock = WORKSHOP / "installed.lock", (HERE / "requirements.lock").read_bytes()
    interpreter = WORKSHOP / "venv" / "bin" / "python"
    if not stamp.exists() or stamp.read_bytes() != lock:
        shutil.rmtree(WORKSHOP, ignore_errors=True)
        WORKSHOP.mkdir(parents=True)
        into = ("pip", "install", "--quiet", "--python", interpreter)
        run(UV, "venv", "--quiet", WORKSHOP / "venv")
        run(UV, *into, "--require-hashes", "-r", HERE / "requirements.lock")
        run(UV, *into, "--no-deps", "--no-build-isolation", Path(CHECKOUT).resolve() / "python" / "x402_a2a")
        stamp.write_bytes(lock)
    return interpreter


@pytest.fixture(scope="module")
def seller(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("reference-library")
    chain = ChainProcess(folder / "chain", chain_id=request.param)
    node = NodeProcess(folder / "node", chain, network=f"eip155:{request.param}", x402_versions=[1, 2])
    for signer in node.http.get("/facilitator/supported").json()["signers"]["eip155:*"]:
        chain.http.post("/faucet", json={"address": signer, "usdc": "0"}).raise_for_status()
    yield node
    node.stop()
    chain.stop()


def run(*command: Any, **environment: str) -> str:
    settings = os.environ | environment
    done = subprocess.run(command, cwd=WORKSHOP, env=settings, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bought(python: Path, seller: NodeProcess, what: str) -> tuple[dict[str, Any], int]:
    """What the buyer had, and what its wallet has left of 1 USDC."""
    payer = seller.chain.funded("1")
    told = (HERE / "reference_buyer.py", what, seller.url, payer.key.to_0x_hex(), "Say hello")
    printed = run(python, *told, RPC_URL=seller.chain.url)
    return json.loads(printed.splitlines()[-1]), usdc(seller.chain, payer.address)


@pytest.mark.parametrize("seller", [31337, 84532], indirect=True, ids=["as 31337", "as 84532"])
def test_the_reference_library_buys_a_task(python: Path, seller: NodeProcess) -> None:
    """Objects of version 1, a network's name that it knows, no contextId, A2A 0.3; twice, each with its wallet."""
    for _ in range(2):
        had, left = bought(python, seller, "task")
        assert had["asked"]["network"] == "base-sepolia"
        assert (had["state"], had["payment"]) == ("completed", "payment-completed")
        assert had["receipt"]["success"]
        receipt = seller.chain.rpc("eth_getTransactionReceipt", had["receipt"]["transaction"])["result"]
        assert receipt["status"] == "0x1"
        assert had["text"]
        assert left == 990_000


@pytest.mark.parametrize("seller", [84532], indirect=True, ids=["as 84532"])
def test_the_client_of_version_1_buys_over_http(python: Path, seller: NodeProcess) -> None:
    """It reads the body beside the header of version 2; it signs for the id of Base Sepolia."""
    had, left = bought(python, seller, "http")
    assert had["status"] == 200
    assert had["receipt"]["success"]
    assert had["text"]
    assert left == 999_000
