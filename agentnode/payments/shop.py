"""Puts together what sells over HTTP, on a node that can be paid."""

from __future__ import annotations

from dataclasses import dataclass

from agentnode.payments.assembly import Payments
from agentnode.payments.deliveries import Deliveries
from agentnode.payments.sales import Sales
from agentnode.payments.sign_in import SignIns
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


def open_shop(paid: Payments, database: Database, clock: Clock, keys: NodeKeys, vault: Vault, spend: Spend) -> Shop:
    deliveries = Deliveries(database, clock, vault)
    sales = Sales(paid.gate, paid.book, paid.quotes, paid.transfers, deliveries, paid.chain, spend, keys, clock)
    sign_ins = SignIns(database, clock, keys, paid.chain, paid.asset.network)
    return Shop(Toll(sales, sign_ins), sign_ins, Standings(paid.book, deliveries, spend, paid.assets))
