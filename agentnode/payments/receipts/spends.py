"""What an earlier payment has left, spent: on tasks, whose price goes back to the receipt where they fail.

A receipt pays for a task in one write: its counter is taken, the price leaves its purse, and the task is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import PaymentRefused, QuoteExpired, SettlementPending
from agentnode.payments.receipts.book import ReceiptBook, check_counter
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.schemes.authorship import signed_any
from agentnode.payments.schemes.payload import SentPayment
from agentnode.payments.schemes.receipt import ReceiptSpend, check_network, read_spend, worth_usd_nanos
from agentnode.payments.settling.entries import is_paid_for
from agentnode.payments.settling.journal import Journal
from agentnode.payments.tables import Delivery, PaymentIntent
from ledger.accounts import OPERATOR, fund, move, receipt_budget, withdraw
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.errors import BudgetRefused
from ledger.money import Asset
from ledger.movements import tenant_account
from trust.chain import ChainView


class Spends:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        book: ReceiptBook,
        chain: ChainView,
        dids: Sequence[str],
    ) -> None:
        self._database, self._clock, self._journal, self._book = database, clock, journal, book
        self._chain, self._dids = chain, dids

    async def pay(self, asked: PaymentRequirement, sent: SentPayment) -> Receipt:
        """Take a spend for a task; the same again is answered as before.

        Raises what `checked` does (the receipt is as it was), QuoteExpired.
        """
        spend, receipt = await self.checked(asked, sent)
        try:
            async with self._database.write() as session:
                if not await self._is_taken(session, asked, spend):
                    await self._take(session, asked, receipt, spend)
        except IntegrityError:
            raise PaymentRefused("DUPLICATE_NONCE", "this counter of the receipt is spent") from None
        except BudgetRefused:
            raise PaymentRefused("INSUFFICIENT_FUNDS", "the receipt has too little left") from None
        self._journal.point("spent")
        return _for_task(receipt, asked.payment_id, asked.task_id)

    async def checked(self, asked: PaymentRequirement, sent: SentPayment) -> tuple[ReceiptSpend, Receipt]:
        """The spend and its receipt, where its payer signed it for what is asked.

        Raises PaymentRefused, SettlementPending while the receipt's transfer is undone, ReceiptNotBelieved.
        """
        spend = read_spend(sent, asked)
        receipt = await self._book.get(spend.receipt_id)
        if receipt is None or not await self._signed(receipt, spend, asked):
            # A foreign receipt and a missing one look the same.
            raise PaymentRefused("INVALID_SIGNATURE", "the signature is not this receipt's payer's over this spend")
        check_network(receipt, asked.asset.network)
        if receipt.void:
            raise SettlementPending(receipt.payment_id)
        await self._book.check_remembered(receipt)
        return spend, receipt

    async def of_task(self, task_id: str) -> list[Receipt]:
        """The receipt of an earlier payment that paid for it, if one did."""
        asked = select(PaymentIntent).where(
            PaymentIntent.task_id == task_id, col(PaymentIntent.receipt_id).is_not(None)
        )
        async with self._database.read() as session:
            intent = (await session.exec(asked)).first()
        receipt = await self._book.get(intent.receipt_id) if intent is not None and intent.receipt_id else None
        return [_for_task(receipt, intent.id, task_id)] if intent is not None and receipt is not None else []

    async def give_back(self, task_id: str) -> None:
        """Its work came to nothing: the price is on the receipt, buys later work or is refunded. Again: nothing."""
        receipt = await self._receipt_of(task_id)
        async with self._database.write() as session:
            intent = await self._locked(session, task_id)
            if receipt is None or intent is None or intent.status != "paid" or intent.fills_purse:
                return
            intent.fills_purse = True
            purse, price = receipt_budget(receipt.id), _price(intent)
            await fund(session, purse, price, tenant_account(OPERATOR), self._clock.now_us(), "settlement")
        self._journal.point("given_back")

    async def take_again(self, task_id: str) -> None:
        """The work is done after all, by who took it over: the price, where it is still there."""
        receipt = await self._receipt_of(task_id)
        try:
            async with self._database.write() as session:
                intent = await self._locked(session, task_id)
                if receipt is None or intent is None or not intent.fills_purse:
                    return
                intent.fills_purse = False
                await self._to_operator(session, receipt.id, _price(intent))
        except BudgetRefused:
            return  # spent or refunded meanwhile: the node bears it
        self._journal.point("taken_again")

    async def _is_taken(self, session: AsyncSession, asked: PaymentRequirement, spend: ReceiptSpend) -> bool:
        """Whether this very spend has paid. Raises where another payment has, or may, or the price ran out."""
        intent = await session.get(PaymentIntent, asked.payment_id, with_for_update=True)
        assert intent is not None, "a task's price stands before it is paid"
        if intent.receipt_id is not None:
            if (intent.receipt_id, intent.receipt_counter) == (spend.receipt_id, spend.counter):
                return True
            raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
        if await is_paid_for(session, asked.payment_id):
            raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
        if intent.status != "required" or asked.expired(self._clock.now_us()):
            raise QuoteExpired
        return False

    async def _take(
        self, session: AsyncSession, asked: PaymentRequirement, receipt: Receipt, spend: ReceiptSpend
    ) -> None:
        await check_counter(session, receipt.id, spend.counter)
        delivery = Delivery(
            id=f"{receipt.id}:{spend.counter}",
            receipt_id=receipt.id,
            counter=spend.counter,
            payer=receipt.payer,
            input_hash=asked.input_hash,
            state="received",
            lease_until_us=0,
            created_at_us=self._clock.now_us(),
        )
        session.add(delivery)
        await session.flush()
        intent = await session.get(PaymentIntent, asked.payment_id)
        assert intent is not None
        intent.status, intent.receipt_id, intent.receipt_counter = "paid", receipt.id, spend.counter
        await self._to_operator(session, receipt.id, worth_usd_nanos(asked))

    async def _to_operator(self, session: AsyncSession, receipt_id: str, price_usd_nanos: int) -> None:
        purse = receipt_budget(receipt_id).id
        await withdraw(session, purse, price_usd_nanos)
        to_account, now_us = tenant_account(OPERATOR), self._clock.now_us()
        move(session, OPERATOR, "settlement", purse, to_account, price_usd_nanos, now_us)

    async def _receipt_of(self, task_id: str) -> Receipt | None:
        return next(iter([*await self._book.of_task(task_id), *await self.of_task(task_id)]), None)

    async def _locked(self, session: AsyncSession, task_id: str) -> PaymentIntent | None:
        asked = select(PaymentIntent).where(PaymentIntent.task_id == task_id).with_for_update()
        return (await session.exec(asked)).first()

    async def _signed(self, receipt: Receipt, spend: ReceiptSpend, asked: PaymentRequirement) -> bool:
        digests = (spend.digest(asked, self._chain.chain_id, did) for did in self._dids)
        return await signed_any(self._chain, receipt.payer, digests, spend.signature)


def _for_task(receipt: Receipt, payment_id: str, task_id: str) -> Receipt:
    """The earlier payment's receipt, as it stands for this purchase; its JWS tells of the transfer."""
    return replace(receipt, payment_id=payment_id, task_id=task_id)


def _price(intent: PaymentIntent) -> int:
    return Asset(**intent.asset).nanos_from_atomic(int(intent.amount_atomic))
