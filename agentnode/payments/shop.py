"""Puts together what sells over HTTP, on a node that can be paid."""

from __future__ import annotations

from dataclasses import dataclass

from agentnode.payments.assembly import Payments
from agentnode.payments.deliveries import Deliveries
from agentnode.payments.sales import Sales
from agentnode.payments.sign_in import SignIns
from agentnode.payments.signed_terms import SignedTerms
from agentnode.payments.standing import Standings
from agentnode.payments.toll import Toll
from ledger.clock import Clock
from ledger.database import Database
from ledger.spend import Spend
from ledger.vault import Vault
from trust.keys import NodeKeys


@dataclass(frozen=True)
class Shop:
    toll: Toll
    sign_ins: SignIns
    standings: Standings


def open_shop(
    paid: Payments, database: Database, clock: Clock, keys: NodeKeys, vault: Vault, spend: Spend, signs_terms: bool
) -> Shop:
    deliveries = Deliveries(database, clock, vault)
    terms = SignedTerms(keys, clock) if signs_terms else None
    sales = Sales(paid.gate, paid.book, paid.quotes, paid.transfers, deliveries, paid.chain, spend, keys, clock)
    sign_ins = SignIns(database, clock, keys, paid.chain, paid.asset.network)
    standings = Standings(paid.book, deliveries, spend, paid.refunds, paid.assets)
    return Shop(Toll(sales, sign_ins, terms), sign_ins, standings)
