"""Whose it is what was paid: the price is the operator's, what is over is in the receipt's purse."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import select

from agentnode.payments.tables import PaymentIntent, PaymentReceipt, Settlement
from ledger.accounts import OPERATOR, move, receipt_budget
from ledger.database import AsyncSession
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


async def book_again(session: AsyncSession, row: Settlement, point: str, now_us: int) -> None:
    """Before `row` gets that point. A receipt is booked while its settlement is confirmed, and at no other time: what
    was received comes back with the block that undid it, and goes again with the next."""
    if not row.was_confirmed or (row.point == "confirmed") == (point == "confirmed"):
        return
    received = (await session.exec(select(PaymentReceipt).where(PaymentReceipt.settlement_id == row.id))).first()
    intent = await session.get(PaymentIntent, row.payment_id)
    if received is None or intent is None:
        return
    theirs = f"wallet:{row.payer}"
    for ours, usd_nanos in shares(intent, received.id, int(row.amount_atomic)):
        from_account, to_account = (theirs, ours) if point == "confirmed" else (ours, theirs)
        move(session, OPERATOR, "settlement", from_account, to_account, usd_nanos, now_us)
