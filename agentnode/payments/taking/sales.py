"""A sale over HTTP: from the payment on a request to the right to do its work, once, and to take what it comes to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.quotes import Hasher, Offer, Quotes
from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import PaymentRefused, QuoteExpired, SettlementPending
from agentnode.payments.receipts.book import ReceiptBook
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.schemes.authorship import authorization_digest, signed_any, signed_by
from agentnode.payments.schemes.onchain import NamedClaim, read_claim
from agentnode.payments.schemes.payload import Offered, check_token, read_authorization
from agentnode.payments.schemes.receipt import ReceiptSpend, read_spend
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.shares import OPERATOR
from agentnode.payments.taking.deliveries import LEASE_S, Begun, Deliveries, Reply, Wanted
from agentnode.payments.taking.gate import TollGate
from agentnode.payments.taking.headers import Header, SentPayment, encoded
from agentnode.payments.taking.payment_identifier import identifier_of
from ledger.accounts import receipt_budget
from ledger.clock import Clock
from ledger.errors import BudgetRefused, HoldEnded, Unavailable
from ledger.events import EventDraft
from ledger.movements import tenant_account
from ledger.spend import Hold, Spend, share
from ledger.work import ClaimLost
from trust.chain import ChainView


class Keys(Hasher, Protocol):
    @property
    def dids(self) -> tuple[str, ...]:
        """The node's, the present one first: receipts outlive a rotation."""
        ...


@dataclass(frozen=True)
class Sale:
    """Paid, and nobody else is at work on it. `price_usd_nanos` is what the work may take from the receipt's purse."""

    receipt: Receipt
    price_usd_nanos: int
    begun: Begun
    dialect: str
    resource: str
    terms: SignedTerms | None = None

    @property
    def payer(self) -> str:
        return self.receipt.payer

    @property
    def purse_id(self) -> str:
        return receipt_budget(self.receipt.id).id

    @property
    def headers(self) -> list[Header]:
        """x402's settle response, in the header of the dialect in which it was paid."""
        return self._told(None)

    @property
    def headers_of_delivery(self) -> list[Header]:
        """The same with the seller's word that the work was delivered, where it gives that."""
        return self._told(self.terms.delivered(self.receipt, self.resource) if self.terms else None)

    def _told(self, extensions: dict[str, Any] | None) -> list[Header]:
        version = 2 if self.dialect == "v2" else 1
        name = b"payment-response" if version == 2 else b"x-payment-response"
        return [
            (name, encoded(self.receipt.as_x402(version, extensions))),
            (b"access-control-expose-headers", name),
            (b"cache-control", b"private"),  # whatever the seller's API says of it: a shared cache takes no payments
        ]


class Sales:
    def __init__(
        self,
        gate: TollGate,
        book: ReceiptBook,
        quotes: Quotes,
        transfers: Transfers,
        deliveries: Deliveries,
        chain: ChainView,
        spend: Spend,
        keys: Keys,
        clock: Clock,
    ) -> None:
        self._gate, self._book, self._quotes, self._transfers = gate, book, quotes, transfers
        self._deliveries = deliveries
        self._chain, self._spend, self._keys, self._clock = chain, spend, keys, clock

    def required(self, offer: Offer) -> PaymentRequirement:
        return self._quotes.new(offer, self._clock.now_us())

    async def take(self, offer: Offer, sent: SentPayment) -> Sale | Reply:
        """The sale that this payment opens; or its answer, where that was made before and not received.

        Same one again? then every check; then journal, settle, receipt. Raises PaymentRefused and QuoteExpired (a
        right payment still pays), SettlementPending, RequestInProgress, Conflict, Unavailable.
        """
        asked = self._quotes.answered(offer, sent, self._clock.now_us())
        if sent.scheme == "receipt":
            return await self._spent(asked, sent)
        check_token(sent.payload, asked)
        return await self._paid(asked, await self._proved(asked, sent), identifier_of(sent), sent.dialect)

    async def take_named(self, offer: Offer, named: NamedClaim) -> Sale | Reply:
        """As `take`, for a transfer that the request itself names."""
        asked = self._quotes.named(offer, named.name, named.asked_at_us, named.token, self._clock.now_us())
        return await self._paid(asked, await self._transfers.claimed(named.claim, asked), None, "v2")

    async def _paid(
        self, asked: PaymentRequirement, offered: Offered, identifier: str | None, dialect: str
    ) -> Sale | Reply:
        payment_id = await self._payment_id(offered, asked, identifier)
        asked = replace(asked, payment_id=payment_id, task_id=payment_id)
        wanted = Wanted(payment_id, offered.payer, asked.input_hash, identifier)
        begun = await self._deliveries.begin(wanted)
        if isinstance(begun, Reply):
            return begun
        try:
            receipt = await self._gate.purchase(asked, offered)
            if receipt.void:
                raise SettlementPending(receipt.payment_id)  # its block was undone; the chain may take it again
        except (PaymentRefused, QuoteExpired):
            await self._deliveries.undo(begun)
            raise
        except BaseException:
            await asyncio.shield(self._deliveries.give_back(begun))
            raise
        return Sale(receipt, asked.price_usd_nanos, begun, dialect, asked.resource)

    async def bought(self, offer: Offer, payer: str) -> Reply | None:
        """What this payer was answered to the same request. Raises RequestInProgress while that is at work."""
        return await self._deliveries.bought(payer, offer.input_hash)

    @contextlib.asynccontextmanager
    async def at_work(self, sale: Sale) -> AsyncIterator[None]:
        """Keeps the right while the work lasts. Whatever is raised means that it came to nothing."""
        renewing = asyncio.create_task(self._renew(sale.begun))
        try:
            yield
        except BaseException:
            await asyncio.shield(self._deliveries.give_back(sale.begun))
            raise
        finally:
            renewing.cancel()

    async def hold(self, sale: Sale) -> Hold:
        """The price, held in the purse while the work lasts. Raises PaymentRefused where too little is left."""
        try:
            return await self._spend.reserve(
                tenant_id="public",
                budgets=[share(sale.purse_id)],
                amount_usd_nanos=sale.price_usd_nanos,
                lease_s=LEASE_S * 2,
            )
        except BudgetRefused as refusal:
            raise PaymentRefused("INSUFFICIENT_FUNDS", "the receipt has too little left") from refusal

    async def charge(self, sale: Sale, hold: Hold) -> None:
        """The work is done: the price goes to the operator, with the sale's economic event."""
        event = EventDraft(
            kind="paid_task",
            tenant_id=OPERATOR,
            request_id=sale.begun.id,
            revenue_usd_nanos=sale.price_usd_nanos,
            receipt_id=sale.receipt.id,
            payment_id=sale.receipt.payment_id,
            decision="allowed",
            evidence_status="present",
            trace={"resource": sale.resource},
        )
        with contextlib.suppress(HoldEnded):  # swept while this process slept: the node bears it
            await self._spend.capture(
                hold.id, sale.price_usd_nanos, fence=hold.fence, to_account=tenant_account(OPERATOR), event=event
            )

    async def release(self, hold: Hold) -> None:
        with contextlib.suppress(HoldEnded, Unavailable):  # the sweeper ends it
            await self._spend.release(hold.id, fence=hold.fence)

    async def done(self, sale: Sale, reply: Reply | None) -> None:
        """The work is done. `reply` is kept until the payer had it; None for what was streamed."""
        with contextlib.suppress(ClaimLost):
            await self._deliveries.done(sale.begun, reply)

    async def sent(self, sale: Sale, received: bool) -> None:
        await self._deliveries.sent(sale.begun, received)

    async def _proved(self, asked: PaymentRequirement, sent: SentPayment) -> Offered:
        """The payment, signed by its payer. Of a transfer, which is public, the chain says who that is."""
        if sent.scheme == "onchain":
            _, claim = read_claim(sent.payload, asked)
            return await self._transfers.claimed(claim, asked)
        offered = read_authorization(sent.payload, asked)
        digest = authorization_digest(offered, asked.asset)
        if not await signed_by(self._chain, offered.payer, digest, offered.signature):
            raise PaymentRefused("INVALID_SIGNATURE", "the signature is not the payer's over these terms")
        return offered

    async def _spent(self, asked: PaymentRequirement, sent: SentPayment) -> Sale | Reply:
        """A sale paid by what is left of an earlier payment; the work's hold says whether that suffices."""
        spend = read_spend(sent, asked)
        receipt = await self._book.get(spend.receipt_id)
        if receipt is None or not await self._signed(receipt, spend, asked):
            # A foreign receipt and a missing one look the same.
            raise PaymentRefused("INVALID_SIGNATURE", "the signature is not this receipt's payer's over this spend")
        if asked.expired(self._clock.now_us()):
            raise QuoteExpired
        if receipt.void:
            raise SettlementPending(receipt.payment_id)
        await self._book.check_remembered(receipt)
        name = f"{receipt.id}:{spend.counter}"
        wanted = Wanted(name, receipt.payer, asked.input_hash, identifier_of(sent), receipt.id, spend.counter)
        begun = await self._deliveries.begin(wanted)
        if isinstance(begun, Reply):
            return begun
        return Sale(receipt, asked.price_usd_nanos, begun, sent.dialect, asked.resource)

    async def _signed(self, receipt: Receipt, spend: ReceiptSpend, asked: PaymentRequirement) -> bool:
        digests = (spend.digest(asked, self._chain.chain_id, did) for did in self._keys.dids)
        return await signed_any(self._chain, receipt.payer, digests, spend.signature)

    async def _payment_id(self, offered: Offered, asked: PaymentRequirement, identifier: str | None) -> str:
        """One authorisation for one request has one id, which only the node can make and the payer gets to know.

        Under a name that the payer gave before it is that purchase's: whatever was signed for the second try is not
        taken.
        """
        if identifier is not None and (named := await self._deliveries.named(offered.payer, identifier)):
            return named
        parts = (offered.network, offered.asset, offered.payer, offered.nonce, asked.resource, asked.input_hash)
        return "pay_" + self._keys.keyed_hash(b"purchase\n" + "\n".join(parts).encode())[:32]

    async def _renew(self, begun: Begun) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            with contextlib.suppress(Unavailable, ClaimLost):
                await self._deliveries.renew(begun)
