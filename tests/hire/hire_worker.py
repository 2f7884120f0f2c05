"""Hires once in a process of its own, and dies by SIGKILL at the point of the journal that it is told.

`python hire_worker.py POINT DATABASE_URL FOLDER RPC_URL CHAIN_INFO WALLET_KEY CARD_URL SKILL MANDATE WINDOW_S`
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from hire_world import Wallet, buyer_node, usdc

from agentnode.hire import HireRequest
from ledger.database import Database
from tests.node_keys import PASSWORD
from trust.keys import NodeKeys


async def main() -> None:
    point, database_url, folder, rpc_url, chain_info, key, card_url, skill, mandate_id, window_s = sys.argv[1:]

    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    asset = usdc(json.loads(chain_info))
    database = Database(database_url)
    async with buyer_node(
        *(database, rpc_url, asset, Wallet(key)),
        window_s=int(window_s),
        on_point=die,
        keys=NodeKeys.open(Path(folder), PASSWORD),
    ) as node:
        body = {"agent_card_url": card_url, "message": "the work", "skill": skill, "max_price": 1}
        await node.buyer.hire("t", HireRequest.parse({**body, "mandate_id": mandate_id or None}))


if __name__ == "__main__":
    asyncio.run(main())
