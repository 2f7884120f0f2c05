"""Puts the payments of a node with a chain together."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from agentnode.ground import Ground, Wallets
from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.quotes import Quotes
from agentnode.payments.asking.requirement import Terms
from agentnode.payments.compliance import BlockedAddresses, Compliance, ComplianceService, Every
from agentnode.payments.facilitators.configured import configured
from agentnode.payments.facilitators.courier import Courier
from agentnode.payments.facilitators.gas import WEI_PER_ETHER, GasBudget
from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.facilitators.open import OpenFacilitator
from agentnode.payments.facilitators.recent import RecentPayers
from agentnode.payments.facilitators.routes import Routes
from agentnode.payments.networks import Assets, check_decimals, gas_from_faucet, usdc_of, usdt_of
from agentnode.payments.receipts.balance import ReceiptBalances
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.refunds import Refunds
from agentnode.payments.receipts.spends import Spends
from agentnode.payments.schemes.exact import ExactScheme
from agentnode.payments.schemes.overtaken import Overtaken
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.broadcaster import Broadcaster
from agentnode.payments.settling.ends import Ends
from agentnode.payments.settling.journal import Journal
from agentnode.payments.settling.proof import Proof
from agentnode.payments.settling.queue import SignerQueue
from agentnode.payments.settling.reconciler import Reconciler
from agentnode.payments.settling.sending import Sending
from agentnode.payments.settling.witness import Witness
from agentnode.payments.taking.deliveries import Deliveries
from agentnode.payments.taking.http_gate import HttpGate
from agentnode.payments.taking.intents import Intents
from agentnode.payments.taking.sales import Sales
from agentnode.payments.taking.sign_in import SignIns
from agentnode.payments.taking.task_gate import TaskGate
from agentnode.settings import Settings
from agentnode.ticking import Tick, beside
from ledger.clock import Clock
from ledger.money import Asset, usd_nanos
from trust.chain import ChainView
from trust.errors import WalletExists
from trust.networks import EMBEDDED, chain_id_of
from trust.web import GuardedClient

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PAYEE_WALLET = "node"
"""Where buyers pay to: its key signs refunds, and nothing else."""
SENDER_WALLET = "facilitator"
"""Who broadcasts settlements and pays their gas."""
_ANYWHERE = ("0.0.0.0/0", "::/0")
"""Facilitators stand where the operator says: only how long and how much they answer is bounded."""


@dataclass(frozen=True)
class Payments:
    """What the rest of the node needs of a chain."""

    chain: ChainView
    asset: Asset
    assets: tuple[Asset, ...]
    task_gate: TaskGate
    http_gate: HttpGate
    sign_ins: SignIns
    balances: ReceiptBalances
    refunds: Refunds
    open_facilitator: OpenFacilitator
    compliance: Every
    journal: Journal
    facilitator: LocalFacilitator
    intents: Intents
    routes: Routes
    courier: Courier
    queue: SignerQueue
    reconciler: Reconciler
    broadcaster: Broadcaster
    stations: tuple[Station, ...]
    web: GuardedClient

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return (
            (5, self.reconciler.tick),
            (60, self.routes.refresh),
            (60, self.refunds.go_on),
            (600, self.intents.forget_unpaid),
            (600, self.sign_ins.forget),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            await self.reconciler.start()
            async with beside(self.run()):
                yield
        finally:
            await self.close()

    async def run(self) -> None:
        """Until cancelled: our own queue, and what other facilitators carry."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.queue.run())
            group.create_task(self.courier.run())

    async def close(self) -> None:
        for station in self.stations:
            station.scheme.close()
            await station.chain.aclose()
        await self.broadcaster.close()
        await self.compliance.aclose()
        await self.web.aclose()


@dataclass(frozen=True)
class Station:
    """One chain on which payments are checked."""

    chain: ChainView
    asset: Asset
    proof: Proof
    scheme: ExactScheme


async def open_payments(ground: Ground) -> Payments:
    """Raises ChainMismatch where another chain answers than the configured one, ChainUnavailable where none does."""
    settings, database, clock, keys = ground.settings, ground.database, ground.clock, ground.keys
    claims, wallets, spend = ground.claims, ground.wallets, ground.spend
    account = await asyncio.to_thread(_account, wallets, SENDER_WALLET)
    pay_to = await asyncio.to_thread(_address, wallets, PAYEE_WALLET)
    if settings.network == EMBEDDED:
        await gas_from_faucet(settings.rpc_url, account.address)

    journal = Journal(database, clock, claims, ground.on_point)
    terms = Terms(
        settings.quote_life_s,
        settings.max_timeout_s,
        settings.settle_timeout_s,
        settings.refund_window_s,
        tuple(settings.x402_versions),
    )
    own = await _station(settings.network, settings.rpc_url, account, journal, clock)
    chain, asset, proof = own.chain, own.asset, own.proof
    usdt = await usdt_of(settings.network, settings.rpc_url, settings.usdt_address)
    assets = Assets((asset, *([usdt] if usdt else [])))
    for one in assets:
        await check_decimals(chain, one)
    broadcaster = Broadcaster(settings.rpc_url)

    web = GuardedClient(_ANYWHERE, settings.facilitator_timeout_s)
    said = configured(settings.facilitators, settings.network, web, os.environ)
    others = {n: await _station(n, url, account, journal, clock) for n, url in said.rpc_urls.items()}
    routes, compliance = Routes(said.routes, clock), _compliance(settings)
    gas_wei = int(Decimal(settings.open_facilitator_gas_ether_per_day) * WEI_PER_ETHER)
    gas = GasBudget(journal, broadcaster, clock, account.address, gas_wei)

    def facilitator_on(station: Station) -> LocalFacilitator:
        free = station.asset.network == EMBEDDED
        at = (journal, station.chain, station.asset, clock)
        most_atomic = station.asset.atomic_from_nanos(usd_nanos(settings.verify_recent_usd, "verify_recent_usd"))
        return LocalFacilitator(
            *(station.scheme, journal, station.asset, account.address, pay_to, terms.settle_timeout_s, clock),
            *(routes, compliance, Overtaken(*at, terms.quote_life_s, account.address)),
            RecentPayers(*at, settings.verify_recent_s, most_atomic),
            None if free else gas,
        )

    facilitator = facilitator_on(own)
    proofs = {settings.network: proof} | {network: station.proof for network, station in others.items()}
    book, ends = ReceiptBook(database, journal, keys, terms.refund_window_s), Ends(journal, database, clock)
    witness = Witness(settings.data / "journal.beat")
    transfers = Transfers(
        *(journal, ends, chain, proof, compliance, clock), keys.dids, depth=settings.confirmations, witness=witness
    )
    spends = Spends(database, clock, journal, book, chain, keys.dids)
    refunds = Refunds(
        *(database, clock, journal, book, chain, compliance, assets),
        payer_account=lambda: wallets.account(PAYEE_WALLET),
        dids=keys.dids,
        depth=settings.confirmations,
        settle_timeout_s=settings.settle_timeout_s,
    )
    intents = Intents(database, clock, journal, facilitator, transfers, book, assets, terms)
    quotes, deliveries = Quotes(keys, assets, pay_to, terms), Deliveries(database, clock, ground.vault)
    signed = SignedTerms(keys, clock) if settings.x402_offer_receipt else None
    sales = Sales(intents, journal, spends, quotes, transfers, deliveries, chain, keys, clock, signed)
    sign_ins = SignIns(database, clock, keys, chain, asset.network)
    return Payments(
        chain=chain,
        asset=asset,
        assets=assets,
        task_gate=TaskGate(
            *(intents, clock, journal, transfers, spends, asset, pay_to, book, terms, spend, ground.events, signed)
        ),
        http_gate=HttpGate(sales, quotes, sign_ins, deliveries, spend, clock, signed),
        sign_ins=sign_ins,
        balances=ReceiptBalances(book, spend, refunds),
        refunds=refunds,
        open_facilitator=OpenFacilitator(facilitator, {n: facilitator_on(each) for n, each in others.items()}, routes),
        compliance=compliance,
        journal=journal,
        facilitator=facilitator,
        intents=intents,
        routes=routes,
        courier=Courier(journal, routes, proofs, claims, clock),
        queue=SignerQueue(journal, Sending(journal, broadcaster, chain, proof, account, clock), claims, clock),
        reconciler=Reconciler(
            journal,
            *(ends, transfers, proofs, broadcaster, chain, claims, clock),
            *(asset, pay_to, account.address, terms.quote_life_s),
            witness=witness,
            receipt_left=intents.receipt_left,
        ),
        broadcaster=broadcaster,
        stations=(own, *others.values()),
        web=web,
    )


async def _station(network: str, rpc_url: str, account: LocalAccount, journal: Journal, clock: Clock) -> Station:
    from agentnode.payments.schemes.signer import PlanningSigner

    chain = ChainView(rpc_url, chain_id_of(network))
    await chain.check_chain_id()
    scheme = ExactScheme(PlanningSigner(account.key.hex(), rpc_url), chain, journal)
    proof = Proof(chain, clock, wall_clock=network == EMBEDDED)
    return Station(chain, await usdc_of(network, rpc_url), proof, scheme)


def _compliance(settings: Settings) -> Every:
    hooks: list[Compliance] = []
    if settings.compliance_file:
        hooks.append(BlockedAddresses(Path(settings.compliance_file)))
    if settings.compliance_url:
        hooks.append(ComplianceService(settings.compliance_url, settings.compliance_timeout_s))
    return Every(hooks)


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
