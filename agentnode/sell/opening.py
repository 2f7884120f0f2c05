"""What it takes to be paid, for an application that is not a node: ledger, journal, keys, and the chain's queue."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from agentnode import ticking
from agentnode.migrations import LOCATIONS
from agentnode.payments import PaymentsAbsent, Toll
from agentnode.payments.assembly import open_payments
from agentnode.payments.shop import open_shop
from agentnode.settings import Settings
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.events import Events
from ledger.ids import new_id
from ledger.spend import Spend, Sweeper
from ledger.vault import Vault
from ledger.work import Claims
from trust.keys import NodeKeys
from trust.keystore import Keystore, open_password


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Toll]:
    """A toll over the folder of `settings.data`, which may be a node's: the two share its books.

    Raises PaymentsAbsent where `chain` is not the URL of a JSON-RPC, ChainMismatch, ChainUnavailable.
    """
    if not settings.rpc_url:
        raise PaymentsAbsent
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock, owner = SystemClock(), new_id("proc")
    async with contextlib.AsyncExitStack() as stack:
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        await database.upgrade(LOCATIONS)
        password, _ = open_password(settings.data, settings.over(os.environ))
        keys = NodeKeys.open(settings.data / "keys", password)
        wallets = Keystore(settings.data / "wallets", password)
        spend, events = Spend(database, clock, owner), Events(database)
        claims, vault = Claims(database, clock, owner), Vault(database, clock, keys)
        paid = await open_payments(
            settings, database, clock, claims, keys, wallets, spend, events, on_point=lambda name: None
        )
        stack.push_async_callback(paid.close)
        await spend.start()
        stack.push_async_callback(spend.close)
        await paid.reconciler.start()
        settling = asyncio.create_task(paid.run())
        stack.push_async_callback(_ended, settling)
        shop = open_shop(paid, database, clock, keys, vault, spend, settings.x402_offer_receipt)
        ticks = (
            (5, paid.reconciler.tick),
            (60, paid.routes.refresh),
            (5, Sweeper(database, spend, clock).sweep),
            (600, vault.delete_ended),
            (600, shop.sign_ins.forget),
        )
        with ticking.scheduled(ticks):
            yield shop.toll


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
