"""What was left open is ended in rounds, in which no seller keeps money waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hire_chain import settle
from hire_world import PAYEE, BuyerNode, SellerProcess, Wallet, buyer_node, open_day
from sqlalchemy import text
from test_hire import PRICE_NANOS, day, rows, work

from agentnode.hire.calls import Calls
from agentnode.hire.purse import Purse
from agentnode.hire.recovery import Recovery
from agentnode.hire.tables import HireCall
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import DatabaseUnavailable
from ledger.money import Asset
from tests.ledger.parts import LaterClock

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


class OnceDown(Purse):
    """A purse whose database is away when it is first asked."""

    asked = 0

    async def release(self, call: HireCall) -> None:
        self.asked += 1
        if self.asked == 1:
            raise DatabaseUnavailable("away")
        await super().release(call)


async def test_what_an_abandoned_call_holds_comes_back_though_the_database_was_away(
    node: BuyerNode, asset: Asset, wallet: Wallet
) -> None:
    """Its owner died between hold and signature, and the first recovery between taking the call and giving back."""
    call = HireCall(
        **{"id": "call_left", "tenant_id": "t", "resource_id": None, "card_url": "http://seller/card", "skill": None},
        **{"mandate_id": None, "use_id": "hold_left", "amount_usd_nanos": PRICE_NANOS, "amount_atomic": "10000"},
        **{"network": asset.network, "asset": asset.address, "payer": wallet.address, "payee": PAYEE},
        **{"task_id": "task", "context_id": "ctx", "task_state": "input-required"},
        **{"lease_until_us": 0, "created_at_us": 0, "updated_at_us": 0},
    )
    await Calls(node.database, LaterClock(-130)).plan(call)
    budgets = [await open_day(node.spend)]
    hold = await node.spend.reserve(
        tenant_id="t", budgets=budgets, amount_usd_nanos=PRICE_NANOS, hold_id=call.use_id, ends_by="chain"
    )
    await node.spend.mark_sent(hold)
    calls, purse = Calls(node.database, SystemClock()), OnceDown(node.spend, node.mandates, lambda *_: None)  # type: ignore[arg-type, return-value]
    recovery = Recovery(calls, purse, node.buyer._following)
    assert (await recovery.settle_open_calls(), await day(node)) == (0, (0, PRICE_NANOS))
    assert (await recovery.settle_open_calls(), await day(node)) == (1, (0, 0))
    assert (await calls.get("t", call.id)).point == "released"
