"""The toll gate: what a task costs, whether it was paid, and the receipt. Standalone flow of the a2a-x402 extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select

from agentnode.payments.asking.requirement import PaymentRequirement, Terms
from agentnode.payments.errors import PaymentRefused, PaymentUnknown, QuoteExpired
from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.receipts.spends import Spends
from agentnode.payments.schemes.onchain import DirectTransfer, TransferClaim, check_transfer, read_claim
from agentnode.payments.schemes.payload import Authorization, Offered, check_terms, read_authorization, scheme_of
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.journal import Journal
from agentnode.payments.shares import OPERATOR
from agentnode.payments.tables import OPEN_POINTS, UNPAID_POINTS, PaymentIntent, Settlement
from agentnode.payments.taking.headers import SentPayment
from ledger.clock import SECOND_US, Clock, seconds
from ledger.database import Database
from ledger.events import EventDraft, Events
from ledger.ids import new_id
from ledger.money import Asset
from ledger.spend import Spend

_KEEP_UNPAID_US = 3_600 * SECOND_US
"""A payment that is being checked while its quote ends must still find its price."""


class TollGate:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        facilitator: LocalFacilitator,
        transfers: Transfers,
        spends: Spends,
        assets: Sequence[Asset],
        pay_to: str,
        book: ReceiptBook,
        terms: Terms,
        spend: Spend,
        events: Events,
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._facilitator = facilitator
        self._transfers = transfers
        self._spends = spends
        self._asset, *self._other_assets = assets
        self._pay_to = pay_to
        self._book = book
        self._terms = terms
        self._spend = spend
        self._events = events

    async def require(
        self,
        task_id: str,
        price_usd_nanos: int,
        resource: str,
        description: str,
        input_hash: str,
        price_version: str = "",
    ) -> PaymentRequirement:
        """Price a task once: asked again, the same requirement stands."""
        now = self._clock.now_us()
        asked = PaymentRequirement(
            payment_id=new_id("pay"),
            task_id=task_id,
            quote_id=new_id("quo"),
            price_usd_nanos=price_usd_nanos,
            amount_atomic=self._asset.atomic_from_nanos(price_usd_nanos),
            asset=self._asset,
            pay_to=self._pay_to,
            resource=resource,
            description=description,
            input_hash=input_hash,
            expires_at_us=now + self._terms.quote_life_s * SECOND_US,
            max_timeout_s=self._terms.max_timeout_s,
            refund_window_s=self._terms.refund_window_s,
            price_version=price_version,
            asked_at_us=now,
            authority=self._book.did,
        ).beside(*self._other_assets)
        try:
            async with self._database.write() as session:
                session.add(self._row(asked, fills_purse=False))
        except IntegrityError:
            standing = await self.requirement(task_id)
            assert standing is not None, "the task has one intent"
            return standing
        return asked

    async def requirement(self, task_id: str) -> PaymentRequirement | None:
        intent = await self._intent(task_id)
        return self._requirement(intent) if intent else None

    async def submit(self, task_id: str, payload: Any) -> Receipt:
        """Take a payment for a task: same one again? then every check; then journal, settle, receipt.

        Raises PaymentRefused (the task stays payable, nothing was charged), QuoteExpired, SettlementPending.
        """
        intent = await self._intent(task_id)
        if intent is None:
            raise PaymentRefused("SETTLEMENT_FAILED", "this task asks for no payment")
        asked = self._requirement(intent)
        match scheme_of(payload):
            case "onchain":
                return await self._take_transfer(intent, *read_claim(payload, asked))
            case "receipt":
                return await self._spends.pay(asked, SentPayment("v2", payload))
        return await self._take(intent, asked, read_authorization(payload, asked))

    async def purchase(self, asked: PaymentRequirement, offered: Offered) -> Receipt:
        """Take a payment for what `asked.payment_id` names, whose price no row stands for yet; as `submit`.

        What is paid fills the receipt's purse, and the work takes from there what it comes to.
        """
        intent = self._row(asked, fills_purse=True)
        try:
            async with self._database.write() as session:
                session.add(intent)
        except IntegrityError:
            intent = await self._intent(asked.task_id) or intent
        standing = await self._journal.of_payment(asked.payment_id)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.payer == offered.payer:
            return await self._ended(self._requirement(intent), standing)
        return await self._take(intent, asked, offered)

    async def _take_transfer(self, intent: PaymentIntent, asked: PaymentRequirement, claim: TransferClaim) -> Receipt:
        """The same claim again is answered without the chain: who knows the task's id knows what it bought."""
        standing = await self._journal.of_payment(asked.payment_id)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.nonce == claim.tx_hash:
            return await self._ended(asked, standing)
        return await self._take(intent, asked, await self._transfers.claimed(claim, asked))

    async def _take(self, intent: PaymentIntent, asked: PaymentRequirement, offered: Offered) -> Receipt:
        standing = await self._journal.of_payment(asked.payment_id)
        same = standing is not None and (standing.payer, standing.nonce) == (offered.payer, offered.nonce)
        if standing is not None and standing.point not in UNPAID_POINTS:
            if not same:
                raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
            return await self._ended(asked, standing)
        if intent.receipt_id is not None:
            raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
        if intent.status != "required" or asked.expired(self._clock.now_us()):
            await self._close(intent, "expired")
            raise QuoteExpired
        if isinstance(offered, Authorization):
            entry = await self._settle(asked, offered, standing if same else None)
        else:
            assert isinstance(offered, DirectTransfer)
            entry = await self._claim(asked, offered)
        return await self._book.receipt(asked, entry)

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

    async def outcome(self, task_id: str) -> Receipt | PaymentRefused | None:
        """What became of a task's payment; None where none was journaled. Raises SettlementPending."""
        intent = await self._intent(task_id)
        standing = await self._journal.of_payment(intent.id) if intent else None
        if intent is None or standing is None:
            return next(iter(await self._spends.of_task(task_id)), None)
        try:
            return await self._ended(self._requirement(intent), standing)
        except PaymentRefused as refused:
            return refused

    async def reject(self, task_id: str) -> None:
        """The client will not pay: the requirement is void."""
        intent = await self._intent(task_id)
        if intent is not None:
            await self._close(intent, "rejected")

    async def receipts(self, task_id: str) -> list[Receipt]:
        return [*await self._book.of_task(task_id), *await self._spends.of_task(task_id)]

    async def give_back(self, task_id: str) -> None:
        """Its work came to nothing: what was paid for it is a receipt of its payer, to be spent or refunded."""
        await self._spends.give_back(task_id)

    async def unbooked_usd_nanos(self, task_id: str) -> int:
        """What was received for a task and stands in no economic event yet."""
        intent = await self._intent(task_id)
        if intent is None or intent.status != "paid" or intent.fills_purse:
            return 0
        booked = sum(event.revenue_usd_nanos for event in await self._events.of_task(task_id))
        return max(0, intent.price_usd_nanos - booked)

    async def book(self, task_id: str) -> None:
        """The work is done: what no upstream call's event carries gets one of its own, once a receipt."""
        await self._spends.take_again(task_id)
        unbooked = await self.unbooked_usd_nanos(task_id)
        for receipt in await self.receipts(task_id) if unbooked else ():
            event = EventDraft(
                id=receipt.payment_id.replace("pay_", "evt_", 1),  # a receipt may pay for many
                kind="paid_task",
                tenant_id=OPERATOR,
                task_id=task_id,
                revenue_usd_nanos=unbooked,
                receipt_id=receipt.id,
                payment_id=receipt.payment_id,
                decision="allowed",
                evidence_status="present",
            )
            await self._spend.record(event)

    async def status(self, payment_id: str) -> dict[str, Any]:
        """`{payment_id, status, settlement?, receipt?}` as `GET /api/v2/payments/{id}`. Raises PaymentUnknown."""
        async with self._database.read() as session:
            intent = await session.get(PaymentIntent, payment_id)
        if intent is None:
            raise PaymentUnknown(f"there is no payment {payment_id}")
        entry = await self._journal.of_payment(payment_id)
        answer: dict[str, Any] = {"payment_id": payment_id, "task_id": intent.task_id, "status": intent.status}
        if entry is not None and entry.point == "reorged":
            answer["status"] = "reorged"
        if entry is not None:
            answer["settlement"] = {
                "point": entry.point,
                "tx_hash": entry.tx_hash or None,
                "block_number": entry.block_number,
                "amount_settled": entry.amount_atomic if entry.point == "confirmed" else "0",
            }
        answer["receipts"] = [receipt.as_x402(2) for receipt in await self.receipts(intent.task_id)]
        return answer

    async def _ended(self, asked: PaymentRequirement, standing: Settlement) -> Receipt:
        if standing.scheme == "onchain" and standing.point in OPEN_POINTS:
            standing = await self._transfers.looked(standing)
        return await self._book.receipt(asked, await self._facilitator.end_of(standing))

    async def _refuse_spent(self, offered: Offered, asked: PaymentRequirement) -> None:
        standing = await self._journal.of_authorization(offered)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.payment_id != asked.payment_id:
            raise PaymentRefused("DUPLICATE_NONCE", "this payment pays, or paid, for something else")

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

    async def _intent(self, task_id: str) -> PaymentIntent | None:
        async with self._database.read() as session:
            return (await session.exec(select(PaymentIntent).where(PaymentIntent.task_id == task_id))).first()

    async def _close(self, intent: PaymentIntent, status: str) -> None:
        async with self._database.write() as session:
            row = await session.get(PaymentIntent, intent.id, with_for_update=True)
            if row is not None and row.status == "required":
                row.status = status

    def _requirement(self, intent: PaymentIntent) -> PaymentRequirement:
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
