"""A seller's toll gate over a real chain, and payers with USDC."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from sqlmodel import col, select

from agentnode.ground import ground_on
from agentnode.payments import Offer, PaymentRequirement, Receipt, SettlementPending
from agentnode.payments.assembly import Payments, open_payments
from agentnode.payments.ledger_check import check_chain, check_ledger
from agentnode.payments.tables import Settlement
from agentnode.settings import Settings, load
from ledger.clock import SystemClock
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess, authorization
from tests.node_keys import node_keys
from trust.keys import NodeKeys

PRICE_USD_NANOS = 10_000_000
_numbers = itertools.count(1)


@dataclass
class World:
    chain: ChainProcess
    database: Database
    payments: Payments

    async def require(self, task_id: str = "") -> PaymentRequirement:
        """A new task's requirement."""
        task = task_id or f"task_{next(_numbers):032x}"
        offer = Offer(PRICE_USD_NANOS, "http://node/api/a2a", "Ask", "00" * 32)
        return await self.payments.task_gate.require(task, offer)

    async def submit(self, asked: PaymentRequirement, payload: dict[str, Any]) -> Receipt:
        return await self.payments.task_gate.submit(asked.task_id, payload)

    async def paid(self, asked: PaymentRequirement, payload: dict[str, Any]) -> Receipt:
        """As clients pay: the same payload again, while its settlement is pending."""
        while True:
            with contextlib.suppress(SettlementPending):
                return await self.submit(asked, payload)

    def usdc(self, address: str) -> int:
        return int(self.chain.usdc().functions.balanceOf(self.chain.web3.to_checksum_address(address)).call())

    async def journal(self) -> list[Settlement]:
        async with self.database.read() as session:
            return list((await session.exec(select(Settlement).order_by(col(Settlement.seq)))).all())


class OpenWallets:
    """Wallets that are open already; the keystore's own take a second each, for whoever guesses passwords too."""

    def __init__(self) -> None:
        self._accounts: dict[str, LocalAccount] = {}

    def create(self, name: str) -> str:
        return self.put(name, Account.create().key.hex())

    def put(self, name: str, private_key: str) -> str:
        self._accounts[name] = Account.from_key(private_key)
        return str(self._accounts[name].address)

    def address(self, name: str) -> str | None:
        return str(self._accounts[name].address) if name in self._accounts else None

    def account(self, name: str) -> LocalAccount:
        return self._accounts[name]


def signed_payload(
    chain: ChainProcess, payer: LocalAccount, asked: PaymentRequirement, version: int = 2, **other: Any
) -> dict[str, Any]:
    """What a client sends; `other` replaces what it signs: payee, value, valid_after, valid_before, token."""
    token = {**chain.info()["usdc"], **other.pop("token", {})}
    made = authorization(payer, other.pop("payee", asked.pay_to), other.pop("value", asked.amount_atomic), **other)
    inner = {
        "signature": made.sign(token).signature.to_0x_hex(),
        "authorization": {
            "from": payer.address,
            "to": made.payee,
            "value": str(made.value),
            "validAfter": str(made.valid_after),
            "validBefore": str(made.valid_before),
            "nonce": "0x" + made.nonce.hex(),
        },
    }
    if version == 1:
        return {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": inner}
    return {"x402Version": 2, "accepted": asked.accepts_v2(), "payload": inner}


@contextlib.asynccontextmanager
async def opened(
    chain: ChainProcess,
    database: Database,
    folder: Path,
    rpc_url: str = "",
    on_point: Callable[[str], None] = lambda name: None,
    wallets: OpenWallets | None = None,
    queue_runs: bool = True,
    keys: NodeKeys | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """The gate with its queue running, on the chain or a proxy before it."""
    said: Settings = load({}, data=folder, chain=rpc_url or chain.url, **settings)
    clock = SystemClock()
    owner, keys = f"test-{time.monotonic_ns()}", keys or node_keys()
    ground = ground_on(said, database, clock, owner, keys, wallets or OpenWallets(), on_point)
    await ground.spend.start()
    payments = await open_payments(ground)
    running = asyncio.ensure_future(payments.run() if queue_runs else asyncio.Event().wait())
    try:
        yield World(chain, database, payments)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await payments.close()
        await ground.spend.close()
        await ground.web.aclose()


async def books(world: World) -> list[str]:
    """The claims about the books that do not hold."""
    payments = world.payments
    pay_to = (await world.require()).pay_to
    checks = await check_ledger(world.database)
    checks += await check_chain(world.database, payments.chain, payments.broadcaster, payments.asset, pay_to)
    return [check.claim for check in checks if not check.ok]


def stranger() -> LocalAccount:
    made: LocalAccount = Account.create()
    return made
