"""Receipts as rows: one a payment, made when it is first asked for; and where the money went that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import PaymentRefused, ReceiptNotBelieved, SettlementPending
from agentnode.payments.receipts.receipt import RECEIPT_TYP, Receipt, Signer, receipt_claims
from agentnode.payments.schemes.receipt import AHEAD
from agentnode.payments.settling.journal import Journal
from agentnode.payments.shares import shares
from agentnode.payments.tables import Delivery, PaymentIntent, PaymentReceipt, Settlement
from ledger.accounts import OPERATOR, fund, move, receipt_budget
from ledger.clock import SECOND_US
from ledger.database import AsyncSession, Database
from ledger.ids import new_id
from ledger.money import Asset

_PAGE = 100
_MADE = (
    select(PaymentReceipt, Settlement, PaymentIntent)
    .join(Settlement, col(Settlement.id) == col(PaymentReceipt.settlement_id))
    .join(PaymentIntent, col(PaymentIntent.id) == col(PaymentReceipt.payment_id))
)


class ReceiptBook:
    def __init__(self, database: Database, journal: Journal, signer: Signer, refund_window_s: int) -> None:
        self._database, self._journal, self._signer = database, journal, signer
        self._refund_window_s = refund_window_s

    @property
    def did(self) -> str:
        """Whose word the receipts are."""
        return self._signer.did

    async def receipt(self, asked: PaymentRequirement, entry: Settlement) -> Receipt:
        """The one receipt of a settled payment. Raises SettlementPending where its block was undone meanwhile."""
        asked = asked.in_token(entry.asset)
        made = unsigned_receipt(entry, new_id("rcpt"), asked.payment_id, asked.task_id)
        made = replace(made, refundable_until_us=entry.updated_at_us + self._refund_window_s * SECOND_US)
        made = self._signed(made, asked.resource, asked.input_hash)
        try:
            async with self._database.write() as session:
                settled = await session.get(Settlement, entry.id, with_for_update=True)
                if settled is None or settled.undone:
                    raise SettlementPending(asked.payment_id)
                values = {**vars(made), "amount_atomic": str(made.amount_atomic), "settlement_id": entry.id}
                values.pop("void")
                session.add(PaymentReceipt(**values))
                intent = await session.get(PaymentIntent, asked.payment_id)
                assert intent is not None
                intent.status = "paid"
                intent.asset, intent.amount_atomic = vars(asked.asset), str(asked.amount_atomic)
                await session.flush()
                await self._move(session, made, intent)
        except IntegrityError:
            for standing in await self.of_task(asked.task_id):
                return standing
            raise PaymentRefused("DUPLICATE_NONCE", "this transfer has its receipt already") from None
        self._journal.point("receipted")
        return made

    async def get(self, receipt_id: str) -> Receipt | None:
        found = await self._read(_MADE.where(PaymentReceipt.id == receipt_id))
        return found[0] if found else None

    async def worth_usd_nanos(self, receipt: Receipt) -> int:
        """What was paid, by the token of its price: that may be taken no more."""
        async with self._database.read() as session:
            intent = await session.get(PaymentIntent, receipt.payment_id)
        assert intent is not None, "what has a receipt had a price"
        return Asset(**intent.asset).nanos_from_atomic(receipt.amount_atomic)

    async def check_remembered(self, receipt: Receipt) -> None:
        """Raises ReceiptNotBelieved where a restored, older database may have forgotten what was spent of it."""
        older_at_us = await self._journal.older_at_us(receipt.network)
        if older_at_us is not None and receipt.settled_at_us <= older_at_us:
            raise ReceiptNotBelieved(receipt.id)

    async def next_counter(self, receipt_id: str) -> int:
        """Under which its payer may sign the next spend of it."""
        async with self._database.read() as session:
            return await _last_counter(session, receipt_id) + 1

    async def of_payment(self, payment_id: str) -> Receipt | None:
        """The one that was made of it."""
        found = await self._read(_MADE.where(PaymentReceipt.payment_id == payment_id))
        return found[0] if found else None

    async def of_task(self, task_id: str) -> list[Receipt]:
        return await self._read(_MADE.where(PaymentReceipt.task_id == task_id))

    async def of_payer(self, payer: str) -> Sequence[Receipt]:
        """The newest first, a hundred at most."""
        newest = (col(PaymentReceipt.settled_at_us).desc(), col(PaymentReceipt.id))
        return await self._read(_MADE.where(PaymentReceipt.payer == payer.lower()).order_by(*newest).limit(_PAGE))

    async def _read(self, asked: Any) -> list[Receipt]:
        async with self._database.read() as session:
            rows = (await session.exec(asked)).all()
        return [self._receipt(*row) for row in rows]

    def _receipt(self, row: PaymentReceipt, settled: Settlement, intent: PaymentIntent) -> Receipt:
        """In the block, and by the transaction, that have the transfer now: after a reorganisation those are others."""
        values = row.model_dump(exclude={"settlement_id"})
        stands = {"void": settled.undone, "block_number": settled.block_number or row.block_number}
        made = Receipt(**{**values, "amount_atomic": int(row.amount_atomic), **stands})
        if made.void or made.tx_hash == settled.tx_hash:
            return made
        return self._signed(replace(made, tx_hash=settled.tx_hash), intent.resource, intent.input_hash)

    def _signed(self, made: Receipt, resource: str, input_hash: str) -> Receipt:
        claims = receipt_claims(made, self._signer.did, resource, input_hash)
        return replace(made, jws=self._signer.sign(claims, RECEIPT_TYP))

    async def _move(self, session: AsyncSession, receipt: Receipt, intent: PaymentIntent) -> None:
        """From the payer's wallet to the operator, and into the purse from which work takes what it comes to."""
        wallet, at_us, purse = f"wallet:{receipt.payer}", receipt.settled_at_us, receipt_budget(receipt.id)
        for account, usd_nanos in shares(intent, receipt.id, receipt.amount_atomic):
            if account == purse.id:
                await fund(session, purse, usd_nanos, wallet, at_us, "settlement")
            else:
                move(session, OPERATOR, "settlement", wallet, account, usd_nanos, at_us)


def unsigned_receipt(entry: Settlement, receipt_id: str, payment_id: str, task_id: str) -> Receipt:
    """What the settlement says, for a receipt that nobody has given their word for."""
    return Receipt(
        id=receipt_id,
        payment_id=payment_id,
        task_id=task_id,
        payer=entry.payer,
        payee=entry.payee,
        amount_atomic=int(entry.amount_atomic),
        asset=entry.asset,
        network=entry.network,
        tx_hash=entry.tx_hash,
        block_number=entry.block_number or 0,
        settled_at_us=entry.updated_at_us,
        jws="",
    )


async def check_counter(session: AsyncSession, receipt_id: str, counter: int) -> None:
    """Raises PaymentRefused where it is too far ahead; that it is taken, the table says."""
    last = await _last_counter(session, receipt_id)
    if counter > last + AHEAD:
        raise PaymentRefused("DUPLICATE_NONCE", f"the receipt's next counter is {last + 1}")


async def _last_counter(session: AsyncSession, receipt_id: str) -> int:
    highest = select(func.max(col(Delivery.counter))).where(Delivery.receipt_id == receipt_id)
    return (await session.exec(highest)).one() or 0
