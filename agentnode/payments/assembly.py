"""Puts the payments of a node with a chain together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agentnode.payments.assets import gas_from_faucet, usdc_of
from agentnode.payments.broadcaster import Broadcaster
from agentnode.payments.ends import Ends
from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.gate import OPERATOR, TollGate
from agentnode.payments.journal import Journal
from agentnode.payments.networks import EMBEDDED
from agentnode.payments.proof import Proof
from agentnode.payments.queue import SignerQueue
from agentnode.payments.reconciler import Reconciler
from agentnode.payments.requirement import Terms
from agentnode.payments.schemes.exact import ExactScheme
from agentnode.payments.sending import Sending
from agentnode.settings import Settings
from ledger.clock import Clock
from ledger.database import Database
from ledger.events import Events
from ledger.money import Asset
from ledger.spend import Spend
from ledger.work import Claims
from trust.chain import ChainView
from trust.errors import WalletExists
from trust.keys import NodeKeys

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PAYEE_WALLET = "node"
"""Where buyers pay to: its key is never used by the node."""
SENDER_WALLET = "facilitator"
"""Who broadcasts settlements and pays their gas."""


class Wallets(Protocol):
    """The keystore. Opening an account takes a second."""

    def create(self, name: str) -> str: ...

    def put(self, name: str, private_key: str) -> str: ...

    def address(self, name: str) -> str | None: ...

    def account(self, name: str) -> LocalAccount: ...


@dataclass
class Payments:
    """What the rest of the node needs of a chain."""

    chain: ChainView
    asset: Asset
    journal: Journal
    facilitator: LocalFacilitator
    gate: TollGate
    queue: SignerQueue
    reconciler: Reconciler
    scheme: ExactScheme
    broadcaster: Broadcaster

    async def close(self) -> None:
        self.scheme.close()
        await self.broadcaster.close()
        await self.chain.aclose()


async def open_payments(
    settings: Settings,
    database: Database,
    clock: Clock,
    claims: Claims,
    keys: NodeKeys,
    wallets: Wallets,
    spend: Spend,
    events: Events,
    on_point: Callable[[str], None],
) -> Payments:
    """Raises ChainMismatch where another chain answers than the configured one, ChainUnavailable where none does."""
    from agentnode.payments.schemes.signer import JournalSigner

    chain = ChainView(settings.rpc_url, settings.chain_id)
    await chain.check_chain_id()
    asset = await usdc_of(settings.network, settings.rpc_url)
    account = await asyncio.to_thread(_account, wallets, SENDER_WALLET)
    pay_to = await asyncio.to_thread(_address, wallets, PAYEE_WALLET)
    if settings.network == EMBEDDED:
        await gas_from_faucet(settings.rpc_url, account.address)

    journal = Journal(database, clock, claims, on_point)
    terms = Terms(settings.quote_life_s, settings.max_timeout_s, settings.settle_timeout_s)
    loop = asyncio.get_running_loop()
    signer = JournalSigner(account.key.hex(), settings.rpc_url, journal, loop)
    scheme = ExactScheme(signer)
    facilitator = LocalFacilitator(scheme, journal, asset, account.address, pay_to, terms.settle_timeout_s, clock)
    broadcaster = Broadcaster(settings.rpc_url)
    proof = Proof(chain, clock, wall_clock=settings.network == EMBEDDED)
    return Payments(
        chain=chain,
        asset=asset,
        journal=journal,
        facilitator=facilitator,
        gate=TollGate(database, clock, journal, facilitator, asset, pay_to, keys, terms, spend, events),
        queue=SignerQueue(journal, Sending(journal, broadcaster, chain, proof, account, clock), claims, clock),
        reconciler=Reconciler(
            journal,
            Ends(journal, database, clock, OPERATOR),
            *(proof, broadcaster, chain, claims, clock),
            *(asset, pay_to, account.address),
        ),
        scheme=scheme,
        broadcaster=broadcaster,
    )


def _address(wallets: Wallets, name: str) -> str:
    """The wallet's address; made where it is missing, by whichever worker is first."""
    with contextlib.suppress(WalletExists):
        return wallets.address(name) or wallets.create(name)
    return wallets.address(name) or ""


def _account(wallets: Wallets, name: str) -> LocalAccount:
    if wallets.address(name) is None:
        from eth_account import Account

        made: LocalAccount = Account.create()
        with contextlib.suppress(WalletExists):
            wallets.put(name, made.key.hex())
            return made
    return wallets.account(name)
