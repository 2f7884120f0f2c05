"""The toll gate of tasks: what one costs, whether it is paid, its receipts. The a2a-x402 extension, standalone flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.requirement import Offer, PaymentRequirement, Terms
from agentnode.payments.errors import PaymentRefused, PaymentUnknown
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.receipts.spends import Spends
from agentnode.payments.schemes.onchain import TransferClaim, read_claim
from agentnode.payments.schemes.payload import SentPayment, read_authorization
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.journal import Journal
from agentnode.payments.tables import UNPAID_POINTS, PaymentIntent
from agentnode.payments.taking.intents import Intents
from ledger.accounts import OPERATOR
from ledger.clock import SECOND_US, Clock
from ledger.events import EventDraft, Events
from ledger.ids import new_id
from ledger.money import Asset
from ledger.spend import Spend


class TaskGate:
    def __init__(
        self,
        intents: Intents,
        clock: Clock,
        journal: Journal,
        transfers: Transfers,
        spends: Spends,
        asset: Asset,
        pay_to: str,
        book: ReceiptBook,
        terms: Terms,
        spend: Spend,
        events: Events,
        signed_terms: SignedTerms | None,
    ) -> None:
        """`signed_terms` signs what is asked, where that is wanted."""
        self._intents = intents
        self._clock = clock
        self._journal = journal
        self._transfers = transfers
        self._spends = spends
        self._asset = asset
        self._pay_to = pay_to
        self._book = book
        self._terms = terms
        self._spend = spend
        self._events = events
        self._signed_terms = signed_terms

    async def require(self, task_id: str, offer: Offer) -> PaymentRequirement:
        """Price a task once: asked again, the same requirement stands."""
        asked = PaymentRequirement(
            payment_id=new_id("pay"),
            task_id=task_id,
            quote_id=new_id("quo"),
            price_usd_nanos=offer.price_usd_nanos,
            amount_atomic=self._asset.atomic_from_nanos(offer.price_usd_nanos),
            asset=self._asset,
            pay_to=self._pay_to,
            resource=offer.resource,
            description=offer.description,
            input_hash=offer.input_hash,
            expires_at_us=self._clock.now_us() + self._terms.quote_life_s * SECOND_US,
            max_timeout_s=self._terms.max_timeout_s,
            price_version=offer.price_version,
        )
        return self._signed(self._intents.asked(await self._intents.open(asked, fills_purse=False)))

    async def requirement(self, task_id: str) -> PaymentRequirement | None:
        intent = await self._intents.of_task(task_id)
        return self._signed(self._intents.asked(intent)) if intent else None

    async def submit(self, task_id: str, payload: Any) -> Receipt:
        """Take a payment for a task, by any scheme; the same again is answered as before.

        Raises PaymentRefused (the task stays payable, nothing was charged), QuoteExpired, SettlementPending.
        """
        intent = await self._intents.of_task(task_id)
        if intent is None:
            raise PaymentRefused("SETTLEMENT_FAILED", "this task asks for no payment")
        asked, sent = self._intents.asked(intent), SentPayment("v2", payload)
        match sent.scheme:
            case "onchain":
                return await self._take_transfer(intent, *read_claim(payload, asked))
            case "receipt":
                return await self._spends.pay(asked, sent)
        return await self._intents.take(intent, asked, read_authorization(payload, asked))

    async def outcome(self, task_id: str) -> Receipt | PaymentRefused | None:
        """What became of a task's payment; None where none was journaled. Raises SettlementPending."""
        intent = await self._intents.of_task(task_id)
        standing = await self._journal.of_payment(intent.id) if intent else None
        if intent is None or standing is None:
            return next(iter(await self._spends.of_task(task_id)), None)
        try:
            return await self._intents.ended(self._intents.asked(intent), standing)
        except PaymentRefused as refused:
            return refused

    async def reject(self, task_id: str) -> None:
        """The client will not pay: the requirement is void."""
        intent = await self._intents.of_task(task_id)
        if intent is not None:
            await self._intents.close(intent, "rejected")

    async def receipts(self, task_id: str) -> list[Receipt]:
        return [*await self._book.of_task(task_id), *await self._spends.of_task(task_id)]

    async def give_back(self, task_id: str) -> None:
        """Its work came to nothing: what was paid for it is a receipt of its payer, to be spent or refunded."""
        await self._spends.give_back(task_id)

    async def unbooked_usd_nanos(self, task_id: str) -> int:
        """What was received for a task and stands in no economic event yet."""
        intent = await self._intents.of_task(task_id)
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
        """`{payment_id, status, settlement?, receipts}` as `GET /api/v2/payments/{id}`. Raises PaymentUnknown."""
        intent = await self._intents.get(payment_id)
        if intent is None:
            raise PaymentUnknown(f"there is no payment {payment_id}")
        entry = await self._journal.of_payment(payment_id)
        answer: dict[str, Any] = {"payment_id": payment_id, "task_id": intent.task_id, "status": intent.status}
        if entry is not None and entry.undone:
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

    def _signed(self, asked: PaymentRequirement) -> PaymentRequirement:
        return replace(asked, extensions=self._signed_terms.offered(asked)) if self._signed_terms else asked

    async def _take_transfer(self, intent: PaymentIntent, asked: PaymentRequirement, claim: TransferClaim) -> Receipt:
        """The same claim again is answered without the chain: who knows the task's id knows what it bought."""
        standing = await self._journal.of_payment(asked.payment_id)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.nonce == claim.tx_hash:
            return await self._intents.ended(asked, standing)
        return await self._intents.take(intent, asked, await self._transfers.claimed(claim, asked))
