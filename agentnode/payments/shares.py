"""Whose it is what was paid: the price is the operator's, what is over is in the receipt's purse. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentnode.payments.tables import PaymentIntent
from ledger.accounts import OPERATOR, receipt_budget
from ledger.money import Asset
from ledger.movements import tenant_account


def shares(intent: PaymentIntent, receipt_id: str, amount_atomic: int) -> Sequence[tuple[str, int]]:
    """`(account, nanos)` of each part of a payment. Over HTTP all of it is in the purse: the work takes it there."""
    asset = Asset(**intent.asset)
    paid, purse = asset.nanos_from_atomic(amount_atomic), receipt_budget(receipt_id).id
    if intent.fills_purse:
        return [(purse, paid)]
    price = asset.nanos_from_atomic(int(intent.amount_atomic))
    over = [(purse, paid - price)] if paid > price else []
    return [(tenant_account(OPERATOR), price), *over]
