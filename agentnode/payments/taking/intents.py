"""What one thing was priced at, and the payment taken for it: the same again? every check; journal, settle, receipt."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select

from agentnode.payments.asking.requirement import PaymentRequirement, Terms
from agentnode.payments.errors import PaymentRefused, QuoteExpired, SettlementPending
from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.schemes.onchain import DirectTransfer, check_transfer
from agentnode.payments.schemes.payload import Authorization, check_terms
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.entries import Offered, is_paid_for
from agentnode.payments.settling.journal import Journal
from agentnode.payments.tables import OPEN_POINTS, UNPAID_POINTS, PaymentIntent, Settlement
from ledger.clock import SECOND_US, Clock, seconds
from ledger.database import Database
from ledger.money import Asset

_KEEP_UNPAID_US = 3_600 * SECOND_US
"""A payment that is being checked while its quote ends must still find its price."""
_TASK_ASKS_US = 60 * SECOND_US
"""A task that ends while its payment does asks for it within that."""


class Intents:
    """Tasks have theirs before a payment comes, requests over HTTP from their payment on."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        facilitator: LocalFacilitator,
        transfers: Transfers,
        book: ReceiptBook,
        assets: Sequence[Asset],
        terms: Terms,
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._facilitator = facilitator
        self._transfers = transfers
        self._book = book
        self._other_assets = assets[1:]
        self._terms = terms

    async def open(self, asked: PaymentRequirement, fills_purse: bool) -> PaymentIntent:
        """Priced once: the one that stands for `asked.task_id`, which is this one where there was none."""
        intent = self._row(asked, fills_purse)
        try:
            async with self._database.write() as session:
                session.add(intent)
        except IntegrityError:
            return await self.of_task(asked.task_id) or intent
        return intent

    async def tried(self, asked: PaymentRequirement) -> PaymentIntent:
        """The price at which a request's payment is tried, in place of its last try's; a journaled one's stands."""
        async with self._database.write() as session:
            standing = await session.get(PaymentIntent, asked.payment_id, with_for_update=True)
            if standing is not None and await is_paid_for(session, asked.payment_id):
                return standing
            return await session.merge(self._row(asked, fills_purse=True))

    def _row(self, asked: PaymentRequirement, fills_purse: bool) -> PaymentIntent:
        return PaymentIntent(
            id=asked.payment_id,
            task_id=asked.task_id,
            quote_id=asked.quote_id,
            price_usd_nanos=asked.price_usd_nanos,
            amount_atomic=str(asked.amount_atomic),
            asset=vars(asked.asset),
            pay_to=asked.pay_to,
            resource=asked.resource,
            description=asked.description,
            input_hash=asked.input_hash,
            expires_at_us=asked.expires_at_us,
            max_timeout_s=asked.max_timeout_s,
            created_at_us=self._clock.now_us(),
            price_version=asked.price_version,
            fills_purse=fills_purse,
        )

    async def of_task(self, task_id: str) -> PaymentIntent | None:
        async with self._database.read() as session:
            return (await session.exec(select(PaymentIntent).where(PaymentIntent.task_id == task_id))).first()

    async def get(self, payment_id: str) -> PaymentIntent | None:
        async with self._database.read() as session:
            return await session.get(PaymentIntent, payment_id)

    def asked(self, intent: PaymentIntent) -> PaymentRequirement:
        asked = PaymentRequirement(
            payment_id=intent.id,
            task_id=intent.task_id,
            quote_id=intent.quote_id,
            price_usd_nanos=intent.price_usd_nanos,
            amount_atomic=int(intent.amount_atomic),
            asset=Asset(**intent.asset),
            pay_to=intent.pay_to,
            resource=intent.resource,
            description=intent.description,
            input_hash=intent.input_hash,
            expires_at_us=intent.expires_at_us,
            max_timeout_s=intent.max_timeout_s,
            price_version=intent.price_version,
            refund_window_s=self._terms.refund_window_s,
            asked_at_us=intent.created_at_us,
            authority=self._book.did,
        )
        return asked.beside(*self._other_assets)

    async def take(self, intent: PaymentIntent, asked: PaymentRequirement, offered: Offered) -> Receipt:
        """Raises PaymentRefused (a right payment still pays, nothing was charged), QuoteExpired, SettlementPending."""
        standing = await self._journal.of_payment(asked.payment_id)
        same = standing is not None and (standing.payer, standing.nonce) == (offered.payer, offered.nonce)
        if standing is not None and standing.point not in UNPAID_POINTS:
            if not same:
                raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
            return await self.ended(asked, standing)
        if intent.receipt_id is not None:
            raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
        if intent.status != "required" or asked.expired(self._clock.now_us()):
            await self.close(intent, "expired")
            raise QuoteExpired
        if isinstance(offered, Authorization):
            entry = await self._settle(asked, offered, standing if same else None)
        else:
            assert isinstance(offered, DirectTransfer)
            entry = await self._claim(asked, offered)
        return await self._book.receipt(asked, entry)

    async def ended(self, asked: PaymentRequirement, standing: Settlement) -> Receipt:
        """The receipt of a payment that is in the journal. Raises SettlementPending, PaymentRefused where it failed."""
        if standing.scheme == "onchain" and standing.point in OPEN_POINTS:
            standing = await self._transfers.looked(standing)
        return await self._book.receipt(asked, await self._facilitator.end_of(standing))

    async def receipt_left(self, entry: Settlement) -> None:
        """The receipt of what was confirmed when nobody waited for it any more.

        A task asks for its own while it is open; what came when it was closed is its payer's, to be spent or refunded.
        """
        intent = await self.get(entry.payment_id) if entry.payment_id else None
        if intent is None or intent.status == "paid" or intent.receipt_id is not None:
            return
        if not intent.fills_purse:
            if intent.status == "required" or self._clock.now_us() - entry.updated_at_us < _TASK_ASKS_US:
                return
            async with self._database.write() as session:
                row = await session.get(PaymentIntent, intent.id, with_for_update=True)
                if row is None or row.status == "paid":
                    return
                row.fills_purse = True
        with contextlib.suppress(SettlementPending):  # undone at the same moment
            await self._book.receipt(self.asked(intent), entry)

    async def close(self, intent: PaymentIntent, status: str) -> None:
        """No payment is journaled for it any more. What was journaled before stands."""
        async with self._database.write() as session:
            row = await session.get(PaymentIntent, intent.id, with_for_update=True)
            if row is not None and row.status == "required":
                row.status = status

    async def forget_unpaid(self) -> int:
        """Drops the prices of purchases that a payment was tried on and none was journaled for; how many."""
        journaled = select(Settlement.id).where(Settlement.payment_id == PaymentIntent.id)
        unpaid = delete(PaymentIntent).where(
            col(PaymentIntent.fills_purse),
            col(PaymentIntent.status) != "paid",
            col(PaymentIntent.expires_at_us) < self._clock.now_us() - _KEEP_UNPAID_US,
            ~journaled.exists(),
        )
        async with self._database.write() as session:
            return int((await session.exec(unpaid)).rowcount)

    async def _settle(self, asked: PaymentRequirement, offered: Authorization, failed: Settlement | None) -> Settlement:
        """The authorisation, turned into a transfer; `failed` is the same one, which has failed before."""
        check_terms(offered, asked, seconds(self._clock.now_us()))
        if failed is not None:
            # What was sent for it before it failed is public, and may have been mined since.
            return await self._facilitator.end_of(await self._journal.plan_again(failed))
        await self._refuse_spent(offered, asked)
        return await self._facilitator.settle(asked.payment_id, offered, asked)

    async def _claim(self, asked: PaymentRequirement, offered: DirectTransfer) -> Settlement:
        """The transfer, once it is deep enough."""
        check_transfer(offered, asked)
        await self._refuse_spent(offered, asked)
        return await self._facilitator.end_of(await self._transfers.journaled(asked.payment_id, offered))

    async def _refuse_spent(self, offered: Offered, asked: PaymentRequirement) -> None:
        standing = await self._journal.of_authorization(offered)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.payment_id != asked.payment_id:
            raise PaymentRefused("DUPLICATE_NONCE", "this payment pays, or paid, for something else")
