"""What a receipt is worth now: paid, used, held by work under way, left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentnode.payments.errors import ReceiptUnknown
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.receipts.refunds import Refunded, Refunds
from ledger.accounts import receipt_budget
from ledger.clock import rfc3339
from ledger.money import usd_fields
from ledger.spend import Spend


@dataclass(frozen=True)
class ReceiptBalance:
    receipt: Receipt
    paid_usd_nanos: int
    used_usd_nanos: int
    held_usd_nanos: int
    next_counter: int
    refund: Refunded | None = None

    @property
    def left_usd_nanos(self) -> int:
        gone = self.used_usd_nanos + self.held_usd_nanos + self.refunded_usd_nanos
        return 0 if self.receipt.void else self.paid_usd_nanos - gone

    @property
    def refunded_usd_nanos(self) -> int:
        return self.refund.row.amount_usd_nanos if self.refund is not None else 0

    def shown(self) -> dict[str, Any]:
        receipt = self.receipt
        return {
            "object": "receipt",
            "id": receipt.id,
            "payment_id": receipt.payment_id,
            "payer": receipt.payer,
            "payee": receipt.payee,
            "network": receipt.network,
            "asset": receipt.asset,
            "amount": str(receipt.amount_atomic),
            "transaction": receipt.tx_hash,
            "settled_at": rfc3339(receipt.settled_at_us),
            **usd_fields("amount_usd", self.paid_usd_nanos),
            **usd_fields("used_usd", self.used_usd_nanos),
            **usd_fields("held_usd", self.held_usd_nanos),
            **usd_fields("left_usd", self.left_usd_nanos),
            "next_counter": self.next_counter,
            "refundable_until": rfc3339(receipt.refundable_until_us) if receipt.refundable_until_us else None,
            "refund": self.refund.shown() if self.refund is not None else None,
            "void": receipt.void,
            "receipt": receipt.jws,
        }


class ReceiptBalances:
    def __init__(self, book: ReceiptBook, spend: Spend, refunds: Refunds) -> None:
        self._book, self._spend, self._refunds = book, spend, refunds

    async def of(self, receipt_id: str) -> ReceiptBalance:
        """Raises ReceiptUnknown."""
        receipt = await self._book.get(receipt_id)
        if receipt is None:
            raise ReceiptUnknown(f"there is no receipt {receipt_id}")
        return await self._balance(receipt)

    async def of_payer(self, payer: str) -> Sequence[ReceiptBalance]:
        """The newest first, a hundred at most."""
        return [await self._balance(receipt) for receipt in await self._book.of_payer(payer)]

    async def _balance(self, receipt: Receipt) -> ReceiptBalance:
        """A receipt without a purse paid for a task, whose price is taken whole."""
        purse = await self._spend.budget(receipt_budget(receipt.id).id)
        paid = await self._book.worth_usd_nanos(receipt)
        held = 0 if purse is None else purse.held_usd_nanos
        refund = await self._refunds.of_receipt(receipt.id)
        gone = paid - held - (0 if purse is None else purse.room_usd_nanos)
        used = gone - (refund.row.amount_usd_nanos if refund is not None else 0)
        return ReceiptBalance(receipt, paid, used, held, await self._book.next_counter(receipt.id), refund)
