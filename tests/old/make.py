"""Plays one hire and some completions, and keeps both nodes as they are then: `python -m tests.old.make VERSION`.

Run once for each released version; later versions are tested to open what earlier ones wrote.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

from agentnode.cli.local import NodeClient, accounts, keystore, own_key
from agentnode.cli.mandate import sign_mandate
from agentnode.settings import Settings, load
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess

PASSWORD = "old"


def main(version: str) -> None:
    os.environ["AGENTNODE_KEYSTORE_PASSWORD"] = PASSWORD
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chain = ChainProcess(folder / "chain")
        nodes = {side: NodeProcess(folder / side, chain, keystore_password=PASSWORD) for side in ("seller", "buyer")}
        _play(folder, chain, nodes)
        for process in (*nodes.values(), chain):
            process.stop()
        for side in nodes:
            target = Path(__file__).parent / version / side
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder / side / "keys", target / "keys")
            with sqlite3.connect(folder / side / "agentnode.db") as database:
                database.execute("VACUUM INTO ?", [str(target / "agentnode.db")])


def _play(folder: Path, chain: ChainProcess, nodes: dict[str, NodeProcess]) -> None:
    said = {side: load({}, data=folder / side, chain=chain.url, keystore_password=PASSWORD) for side in nodes}
    with own_key(said["seller"]) as seller_key, own_key(said["buyer"]) as buyer_key:
        seller, buyer = NodeClient(nodes["seller"].url, seller_key), NodeClient(nodes["buyer"].url, buyer_key)
        pay_to = keystore(said["seller"]).address("node")
        body = {"agent_card_url": nodes["seller"].url, "name": "Ask", "description": "Answers.", "skill": "ask"}
        priced = {**body, "price_per_call_usd": "0.01", "pay_to": pay_to}
        listing = seller.call("POST", "/api/v2/bazaar/listings", priced)
        wallets = keystore(said["buyer"])
        chain.http.post("/faucet", json={"address": wallets.create("default"), "usdc": "1"}).raise_for_status()
        limits = {"max_amount_usd": "0.05", "allowed_categories": ["agent_hire"], "valid_until": 4_000_000_000}
        mandate = sign_mandate(buyer, wallets, 31337, "grantor", "default", limits)
        text = "Which sentence counts? This one has the point. That one has less."
        hired = {"listing": listing, "message": text, "mandate_id": mandate["id"], "max_price": "0.02"}
        assert buyer.call("POST", "/api/v2/bazaar/call", hired)["status"] == "completed"
        nodes["seller"].send("hello", metadata={"skill": "echo"})
    _talk(said["seller"], nodes["seller"].url)


def _talk(settings: Settings, url: str) -> None:
    """Credits, a session, and the same question twice, the second time from the cache."""
    node = NodeClient(url, _key_of_a_developer(settings))
    node.call("POST", "/api/v2/credits/purchase", {"amount_usd": "1", "mode": "test"})
    session = node.call("POST", "/api/v2/sessions", {"budget_usd": "0.5", "agent_identifier": "old"})
    node.call("POST", "/api/v2/sessions/fund", {"session_id": session["id"], "amount": "0.25", "source": "test"})
    question = {"role": "user", "content": "Which sentence counts? This one has the point. That one has less."}
    body = {"messages": [question], "p402": {"session_id": session["id"], "cache": True}}
    answers = [node.call("POST", "/v1/chat/completions", body) for _ in range(2)]
    assert [answer["p402_metadata"]["cached"] for answer in answers] == [False, True]


def _key_of_a_developer(settings: Settings) -> str:
    async def make() -> str:
        async with accounts(settings) as own:
            return (await own.create_key("default", "developer", ["chat", "spend", "meter:read"])).secret

    return asyncio.run(make())


if __name__ == "__main__":
    main(sys.argv[1])
