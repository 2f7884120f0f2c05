"""What a hire needs around it: a chain, a seller in its own process, a funded wallet, and the buyer's own node."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agentnode.devchain import ACCOUNTS, CHAIN_ID
from agentnode.hire import AgentCards, Buyer, CardKeys, open_buyer
from agentnode.payments.compliance import Compliance
from bazaar import Bazaar
from ledger.clock import Clock, SystemClock
from ledger.database import Database
from ledger.money import NANOS_PER_USD, Asset
from ledger.spend import NewBudget, Spend
from mandates import Mandates
from tests.forked import Program
from tests.node_keys import node_keys
from trust.chain import ChainView
from trust.keys import NodeKeys
from trust.networks import EMBEDDED
from trust.web import GuardedClient

PAYEE = ACCOUNTS[1][0]
LOOPBACK = ["127.0.0.1/32"]


class Wallet:
    """A wallet that is open already; the keystore's own takes a second to open."""

    def __init__(self, private_key: str) -> None:
        from eth_account import Account

        self.private_key = private_key
        self._account = Account.from_key(private_key)
        self.address = str(self._account.address)

    def account(self, name: str) -> Any:
        return self._account


@dataclass
class SellerProcess:
    """The seller of hire_seller.py, and what it was sent."""

    url: str
    process: Program

    @property
    def card_url(self) -> str:
        return f"{self.url}/.well-known/agent-card.json"

    def payloads(self) -> list[dict[str, Any]]:
        return list(httpx.get(f"{self.url}/payloads", verify=False).json())

    def stop(self) -> None:
        self.process.kill()


def start_seller(rpc_url: str, token: str, folder: Path) -> SellerProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Program("hire_seller", str(port), rpc_url, token, PAYEE, str(folder))
    word, _, url = process.stdout.readline().strip().partition(" ")
    assert word == "ready", "the seller did not start"
    return SellerProcess(url, process)


@dataclass
class BuyerNode:
    buyer: Buyer
    spend: Spend
    mandates: Mandates
    bazaar: Bazaar
    database: Database
    chain: ChainView


@asynccontextmanager
async def buyer_node(
    database: Database,
    rpc_url: str,
    asset: Asset,
    wallet: Wallet,
    *,
    clock: Clock | None = None,
    window_s: int = 120,
    follow_s: float = 3,
    chain: ChainView | None = None,
    on_point: Callable[[str], None] = lambda name: None,
    card_keys: dict[str, Any] | None = None,
    on_embedded_chain: bool = True,
    compliance: Compliance | None = None,
    keys: NodeKeys | None = None,
) -> AsyncIterator[BuyerNode]:
    clock = clock or SystemClock()
    spend = Spend(database, clock, "buyer")
    await spend.start()
    web = GuardedClient(LOOPBACK)
    mandates = Mandates(database, spend, clock, keys or node_keys(), CHAIN_ID)
    bazaar = Bazaar(database, clock, AgentCards(web))
    chain = chain or ChainView(rpc_url, CHAIN_ID)
    buyer = open_buyer(
        database=database,
        clock=clock,
        spend=spend,
        mandates=mandates,
        bazaar=bazaar,
        web=web,
        card_keys=CardKeys(web, card_keys, on_embedded_chain=on_embedded_chain),
        wallets=wallet,
        chain=chain,
        asset=asset,
        days_of=lambda _, key_id: open_days(spend, key_id),
        reorg_margin_s=0,
        compliance=compliance,
        window_s=window_s,
        follow_s=follow_s,
        on_point=on_point,
    )
    try:
        yield BuyerNode(buyer, spend, mandates, bazaar, database, chain)
    finally:
        await spend.close()
        await web.aclose()


async def open_days(spend: Spend, key_id: str | None) -> list[str]:
    """The tenant's day, and for the key `limited` a cent's of its own."""
    days = [await open_day(spend)]
    if key_id == "limited":
        days.append((await spend.open_budget(NewBudget("day:limited", "t", "day", 10_000_000))).id)
    return days


async def open_day(spend: Spend) -> str:
    """The id of the tenant's day: its limit is what a test has given it."""
    return (await spend.open_budget(NewBudget("day:t", "t", "day", 1_000_000_000))).id


def usdc(info: dict[str, Any]) -> Asset:
    token = info["usdc"]
    return Asset(EMBEDDED, token["address"], token["name"], token["version"], token["decimals"], NANOS_PER_USD)
