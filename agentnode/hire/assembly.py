"""Puts the buyer together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentnode.hire.buyer import FOLLOW_S, Buyer
from agentnode.hire.calls import Calls
from agentnode.hire.card_keys import CardKeys
from agentnode.hire.cards import AgentCards
from agentnode.hire.ending import Ending
from agentnode.hire.following import Following
from agentnode.hire.paying import WINDOW_S, Payer
from agentnode.hire.purse import DayOf, Purse
from agentnode.hire.recovery import Recovery
from agentnode.hire.wallet import Wallets
from bazaar import Bazaar
from ledger.clock import Clock
from ledger.database import Database
from ledger.money import Asset
from ledger.spend import Spend
from mandates import Mandates
from trust.web import GuardedClient

if TYPE_CHECKING:
    from agentnode.payments.compliance import Compliance
    from trust.chain import ChainView


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
    day_of: DayOf,
    reorg_margin_s: int,
    compliance: Compliance | None = None,
    window_s: int = WINDOW_S,
    follow_s: float = FOLLOW_S,
    on_point: Callable[[str], None] = lambda name: None,
) -> Buyer:
    """The buyer over the node's parts. Without `chain` and `asset` it hires what is free.

    `day_of` names the budget that bounds a tenant's hires without a mandate; `reorg_margin_s` is the reorg depth in
    seconds; `compliance` says whom the node may pay, without it everybody; `window_s` is how long a payment stays valid
    at most, `follow_s` how long `hire` waits for a task's end.
    """
    calls = Calls(database, clock, on_point)
    purse = Purse(spend, mandates, day_of)
    ending = Ending(calls, purse, chain, clock, reorg_margin_s) if chain is not None else None
    following = Following(calls, ending, AgentCards(web), card_keys, web)
    payer = None
    if chain is not None and asset is not None and ending is not None:
        payer = Payer(calls, purse, ending, wallets, chain, asset, web, compliance, window_s)
    recovery = Recovery(calls, purse, following)
    return Buyer(bazaar, web, card_keys, spend, calls, following, recovery, payer, follow_s)
