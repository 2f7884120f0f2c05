"""Puts the buyer together, and what is bought with it where the node's own upstreams are too busy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentnode.ground import Ground
from agentnode.hire.buyer import FOLLOW_S, Buyer
from agentnode.hire.calls import Calls
from agentnode.hire.card_keys import CardKeys
from agentnode.hire.cards import AgentCards
from agentnode.hire.chat import ChatBuyer
from agentnode.hire.ending import Ending
from agentnode.hire.following import Following
from agentnode.hire.paying import WINDOW_S, Payer
from agentnode.hire.purse import DaysOf, Purse
from agentnode.hire.recovery import Recovery
from agentnode.hire.wallet import Wallets
from agentnode.ticking import Tick
from bazaar import Bazaar
from ledger.clock import Clock
from ledger.database import Database
from ledger.money import Asset
from ledger.spend import Spend
from mandates import Mandates
from trust.web import GuardedClient

if TYPE_CHECKING:
    from agentnode.payments.assembly import Payments
    from agentnode.payments.compliance import Compliance
    from trust.chain import ChainView


@dataclass(frozen=True)
class Hiring:
    """What the rest of the node needs of hiring."""

    buyer: Buyer
    chat: ChatBuyer

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return ((2, self.buyer.settle_open_calls),)


def open_hiring(ground: Ground, paid: Payments | None, mandates: Mandates, bazaar: Bazaar) -> Hiring:
    """Without payments the node hires what is free."""
    settings = ground.settings
    buyer = open_buyer(
        database=ground.database,
        clock=ground.clock,
        spend=ground.spend,
        mandates=mandates,
        bazaar=bazaar,
        web=ground.web,
        card_keys=CardKeys(ground.web, settings.card_keys, on_embedded_chain=settings.has_test_money),
        wallets=ground.wallets,
        chain=paid.chain if paid else None,
        asset=paid.asset if paid else None,
        days_of=ground.book.days,
        reorg_margin_s=settings.reorg_margin_s,
        compliance=paid.compliance if paid else None,
        on_point=ground.on_point,
    )
    return Hiring(buyer, ChatBuyer(bazaar, buyer, ground.clock))


def open_buyer(
    *,
    database: Database,
    clock: Clock,
    spend: Spend,
    mandates: Mandates,
    bazaar: Bazaar,
    web: GuardedClient,
    card_keys: CardKeys,
    wallets: Wallets,
    chain: ChainView | None,
    asset: Asset | None,
    days_of: DaysOf,
    reorg_margin_s: int,
    compliance: Compliance | None = None,
    window_s: int = WINDOW_S,
    follow_s: float = FOLLOW_S,
    on_point: Callable[[str], None] = lambda name: None,
) -> Buyer:
    """The buyer over the node's parts. Without `chain` and `asset` it hires what is free.

    `days_of` names the budgets that bound a tenant's hires without a mandate; `reorg_margin_s` is the reorg depth in
    seconds; `compliance` says whom the node may pay, without it everybody; `window_s` is how long a payment stays valid
    at most, `follow_s` how long `hire` waits for a task's end.
    """
    calls = Calls(database, clock, on_point)
    purse = Purse(spend, mandates, days_of)
    ending = Ending(calls, purse, chain, clock, reorg_margin_s) if chain is not None else None
    following = Following(calls, ending, AgentCards(web), card_keys, web)
    payer = None
    if chain is not None and asset is not None and ending is not None:
        payer = Payer(calls, purse, ending, wallets, chain, asset, web, compliance, window_s)
    recovery = Recovery(calls, purse, following)
    return Buyer(bazaar, web, card_keys, spend, calls, following, recovery, payer, follow_s)
