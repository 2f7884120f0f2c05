"""The node's buyer pays an official x402 server from npm, which settles through another node's open facilitator.

Run by `make interop`. It pays an official server for Python, with its own facilitator, in `make test`
(`tests/hire/test_hire_over_http.py`).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from npm import WORKSHOP, install, needs_node, node

from agentnode.cli.local import NodeClient, keystore, own_key
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc


@needs_node
def test_the_buyer_pays_a_hono_server_through_our_facilitator(chain: ChainProcess, tmp_path: Path) -> None:
    install()
    settling, buying = NodeProcess(tmp_path / "facilitator", chain), NodeProcess(tmp_path / "buyer", chain)
    payee = chain.funded("0").address
    wallet = keystore(buying.settings).create("default")
    chain.http.post("/faucet", json={"address": wallet, "usdc": "1"}).raise_for_status()
    command = [node(), "serve.mjs", f"{settling.url}/facilitator", chain.info()["usdc"]["address"], payee]
    server = subprocess.Popen(command, cwd=WORKSHOP, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        word, _, url = server.stdout.readline().strip().partition(" ")
        assert word == "ready", "the server did not start"
        with own_key(buying.settings) as key:
            wanted = {"http": {"url": f"{url}/report", "json": {"about": "bees"}}, "max_price": "0.02"}
            bought = NodeClient(buying.url, key).call("POST", "/api/v2/bazaar/call", wanted)
    finally:
        server.kill()
        server.communicate()
        settling.stop()
        buying.stop()
    assert (bought["status"], json.loads(bought["task"]["text"])) == ("completed", {"report": "on bees"}), bought
    assert bought["payment"]["evidence"] == "chain"
    assert (usdc(chain, wallet), usdc(chain, payee)) == (990_000, 10_000)
