"""What was left open is ended in rounds, in which no seller keeps money waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hire_chain import settle
from hire_world import SellerProcess, Wallet, buyer_node
from sqlalchemy import text
from test_hire import PRICE_NANOS, day, rows, work

from ledger.database import Database
from ledger.money import Asset

CALLS = 9
"""More than a recovery asks at once."""


class HangingSeller:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = asyncio.Event()
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await self.over.wait()
        writer.close()


@asynccontextmanager
async def hanging_seller() -> AsyncIterator[HangingSeller]:
    seller = HangingSeller()
    server = await asyncio.start_server(seller.serve, "127.0.0.1", 0)
    seller.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield seller
    finally:
        seller.over.set()
        server.close()


async def test_sellers_that_hang_keep_no_calls_money_waiting(
    database: Database, chain_url: str, asset: Asset, wallet: Wallet, seller: SellerProcess
) -> None:
    """Every payment has reached its end before the first seller is asked for a task."""
    async with buyer_node(database, chain_url, asset, wallet, follow_s=1) as node, hanging_seller() as hangs:
        await asyncio.gather(*(node.buyer.hire("t", work(seller, "silent")) for _ in range(CALLS)))
        nonces = {nonce for (nonce,) in await rows(node, "SELECT nonce FROM hire_call")}
        async with database.write() as session:
            moved = text("UPDATE hire_call SET card_url = :url")
            await (await session.connection()).execute(moved, {"url": f"{hangs.url}/card.json"})
        for payload in seller.payloads():
            if payload["payload"]["authorization"]["nonce"].lower() in nonces:
                await asyncio.to_thread(settle, chain_url, asset.address, payload)
        assert await day(node) == (0, CALLS * PRICE_NANOS)
        round_ = asyncio.create_task(node.buyer.settle_open_calls())
        await hangs.asked.wait()
        assert await day(node) == (CALLS * PRICE_NANOS, 0)
        hangs.over.set()
        assert await round_ == CALLS
