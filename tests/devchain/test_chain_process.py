"""The chain is a process of its own: of this machine only, and it never outlives the node that started it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from devchain_process import ChainProcess

from agentnode.devchain import ACCOUNTS, USDC, ChainChild, ChainNotStarted
from tests.forked import ran


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


async def test_a_child_is_started_and_stopped(tmp_path: Path) -> None:
    """ChainChild serves when it is entered, tells what is where, and is gone when it is left."""
    async with ChainChild(tmp_path / "new" / "folder") as chain:
        async with httpx.AsyncClient() as client:
            told = (await client.get(f"{chain.rpc_url}/info")).json()
        pid = chain.pid
        assert told == chain.info()
    assert (told["rpc_url"], told["chain_id"], told["network"]) == (chain.rpc_url, 31337, "eip155:31337")
    assert told["usdc"] == {"address": USDC, "name": "USD Coin", "version": "2", "decimals": 6}
    assert [account["address"] for account in told["accounts"]] == [address for address, _ in ACCOUNTS]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its own sentence is the error's: here another chain holds the folder."""
    async with ChainChild(tmp_path):
        with pytest.raises(ChainNotStarted, match=r"CHAIN_FOLDER_IN_USE: .* is open in another process"):
            await ChainChild(tmp_path).start()


def test_it_ends_when_its_parent_does(tmp_path: Path) -> None:
    """The parent is killed without a word: its end of the pipe closes, and the chain stops."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import asyncio, pathlib, sys\n"
            "from agentnode.devchain import ChainChild\n"
            "async def main():\n"
            "    chain = ChainChild(pathlib.Path(sys.argv[1]))\n"
            "    await chain.start()\n"
            "    print(chain.pid, chain.rpc_url, flush=True)\n"
            "    await asyncio.sleep(600)\n"
            "asyncio.run(main())\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid, url = parent.stdout.readline().split()
    assert httpx.get(f"{url}/info").status_code == 200
    chain = os.pidfd_open(int(pid))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([chain], [], [], 30)
    os.close(chain)
    assert ended, "the chain outlived its parent"


def test_it_stops_when_its_pipe_is_closed(tmp_path: Path) -> None:
    assert ChainProcess(tmp_path).close_pipe() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_serves_this_machine_only(tmp_path: Path, host: str) -> None:
    """Any host but a loopback address is refused in one sentence."""
    done = ran("agentnode.devchain", "--host", host, "--port", "0", "--data", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"CHAIN_HOST_NOT_LOOPBACK: the embedded chain does not serve {host}")
    assert done.stdout == f"failed {done.stderr}"
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    process = ChainProcess(tmp_path / "first")
    port = process.url.rpartition(":")[2]
    done = ran("agentnode.devchain", "--port", port, "--data", str(tmp_path / "second"))
    process.stop()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"cannot serve on 127.0.0.1:{port}" in done.stderr


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    """Where py-evm is not installed the process ends with the remedy, and ChainChild raises it without a process."""
    without = "import sys; sys.modules['eth'] = None; "
    process = f"import runpy; sys.argv = ['x', '--data', {str(tmp_path)!r}]; "
    process += "runpy.run_module('agentnode.devchain', run_name='__main__')"
    done = run("-c", without + process)
    assert done.returncode == 1
    assert "CHAIN_EXTRA_MISSING: the embedded chain needs the extra `chain`; install it with" in done.stderr
    child = "import asyncio, pathlib; from agentnode.devchain import ChainChild; "
    child += f"asyncio.run(ChainChild(pathlib.Path({str(tmp_path)!r})).start())"
    done = run("-c", without + child)
    assert "ChainExtraMissing: CHAIN_EXTRA_MISSING" in done.stderr


def test_the_node_does_not_load_the_evm() -> None:
    """Importing the room's door costs no py-evm, web3 or eth_account: the node pays for them in the child only."""
    done = run(
        "-c", "import sys, agentnode.devchain; print([n for n in ('eth', 'web3', 'uvicorn') if n in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr
