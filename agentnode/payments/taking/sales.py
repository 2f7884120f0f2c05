"""A sale over HTTP: from the payment on a request to the right to do its work, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.quotes import Hasher, Quotes
from agentnode.payments.asking.requirement import Offer, PaymentRequirement
from agentnode.payments.errors import PaymentRefused, QuoteExpired, SettlementPending
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.receipts.spends import Spends
from agentnode.payments.schemes.authorship import authorization_digest, signed_by
from agentnode.payments.schemes.onchain import NamedClaim, read_claim
from agentnode.payments.schemes.payload import SentPayment, check_token, read_authorization
from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.entries import Offered
from agentnode.payments.settling.journal import Journal
from agentnode.payments.tables import UNPAID_POINTS
from agentnode.payments.taking.deliveries import Begun, Deliveries, Wanted
from agentnode.payments.taking.headers import Header, encoded
from agentnode.payments.taking.intents import Intents
from agentnode.payments.taking.payment_identifier import identifier_of
from agentnode.payments.taking.reply import Reply
from ledger.accounts import receipt_budget
from ledger.clock import Clock
from trust.chain import ChainView


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
    """`terms` signs what was delivered, where that is wanted."""

    def __init__(
        self,
        intents: Intents,
        journal: Journal,
        spends: Spends,
        quotes: Quotes,
        transfers: Transfers,
        deliveries: Deliveries,
        chain: ChainView,
        hasher: Hasher,
        clock: Clock,
        terms: SignedTerms | None,
    ) -> None:
        self._intents, self._journal, self._spends, self._quotes = intents, journal, spends, quotes
        self._transfers, self._deliveries = transfers, deliveries
        self._chain, self._hasher, self._clock, self._terms = chain, hasher, clock, terms

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

    async def _paid(
        self, asked: PaymentRequirement, offered: Offered, identifier: str | None, dialect: str
    ) -> Sale | Reply:
        payment_id = await self._payment_id(offered, asked, identifier)
        asked = replace(asked, payment_id=payment_id, task_id=payment_id)
        begun = await self._deliveries.begin(Wanted(payment_id, offered.payer, asked.input_hash, identifier))
        if isinstance(begun, Reply):
            return begun
        try:
            receipt, price_usd_nanos = await self._received(asked, offered)
            if receipt.void:
                raise SettlementPending(receipt.payment_id)  # its block was undone; the chain may take it again
        except (PaymentRefused, QuoteExpired):
            await self._deliveries.undo(begun)
            raise
        except BaseException:
            await asyncio.shield(self._deliveries.give_back(begun))
            raise
        return self._sale(replace(asked, price_usd_nanos=price_usd_nanos), receipt, begun, dialect)

    async def _received(self, asked: PaymentRequirement, offered: Offered) -> tuple[Receipt, int]:
        """With the price that it was taken at, in nanos: sent again with another quote it buys at no other one.

        What is paid fills the receipt's purse, and the work takes from there what it comes to.
        """
        intent = await self._intents.tried(asked)
        standing = await self._journal.of_payment(asked.payment_id)
        if standing is not None and standing.point not in UNPAID_POINTS and standing.payer == offered.payer:
            return await self._intents.ended(self._intents.asked(intent), standing), intent.price_usd_nanos
        return await self._intents.take(intent, asked, offered), asked.price_usd_nanos

    async def _spent(self, asked: PaymentRequirement, sent: SentPayment) -> Sale | Reply:
        """A sale paid by what is left of an earlier payment; the work's hold says whether that suffices."""
        spend, receipt = await self._spends.checked(asked, sent)
        if asked.expired(self._clock.now_us()):
            raise QuoteExpired
        name = f"{receipt.id}:{spend.counter}"
        wanted = Wanted(name, receipt.payer, asked.input_hash, identifier_of(sent), receipt.id, spend.counter)
        begun = await self._deliveries.begin(wanted)
        return begun if isinstance(begun, Reply) else self._sale(asked, receipt, begun, sent.dialect)

    def _sale(self, asked: PaymentRequirement, receipt: Receipt, begun: Begun, dialect: str) -> Sale:
        return Sale(receipt, asked.price_usd_nanos, begun, dialect, asked.resource, self._terms)

    async def _payment_id(self, offered: Offered, asked: PaymentRequirement, identifier: str | None) -> str:
        """One authorisation for one request has one id, which only the node can make and the payer gets to know.

        Under a name that the payer gave before it is that purchase's: whatever was signed for the second try is not
        taken.
        """
        if identifier is not None and (named := await self._deliveries.named(offered.payer, identifier)):
            return named
        parts = (offered.network, offered.asset, offered.payer, offered.nonce, asked.resource, asked.input_hash)
        return "pay_" + self._hasher.keyed_hash(b"purchase\n" + "\n".join(parts).encode())[:32]
