"""HTTP 402 for any endpoint: what a request costs, whether it is paid, and what to answer where it is not.

An endpoint makes an `Offer`, asks `Toll.take` with the request's headers, does its work inside `Toll.at_work`, and ends
with `charge` (a fixed price) or takes what the work came to from the sale's purse; then `done`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import orjson

from agentnode.payments.asking.offer_receipt import NAME as OFFER_RECEIPT
from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.quotes import Offer
from agentnode.payments.errors import (
    AnswerNotKept,
    ComplianceBlocked,
    PaymentNeeded,
    PaymentRefused,
    QuoteExpired,
    SignInNeeded,
    SignInRefused,
)
from agentnode.payments.schemes.onchain import NamedClaim
from agentnode.payments.taking import payment_identifier
from agentnode.payments.taking.deliveries import Reply
from agentnode.payments.taking.headers import Header, encoded, read_payment
from agentnode.payments.taking.sales import Sale, Sales
from agentnode.payments.taking.sign_in import SignIns
from ledger.errors import AgentNodeError
from ledger.spend import Hold


class Toll:
    def __init__(self, sales: Sales, sign_ins: SignIns, terms: SignedTerms | None) -> None:
        """`terms` signs what is asked and delivered, where that is wanted."""
        self._sales, self._sign_ins, self._terms = sales, sign_ins, terms

    async def take(self, offer: Offer, headers: Iterable[Header], named: NamedClaim | None = None) -> Sale | Reply:
        """The sale that the request's payment opens, or the answer it has bought before and not received.

        Without a payment, who signs in gets again what it has bought by the same request, while that is kept.
        `named` is a transfer that the request names in its body: then that pays, and no header is looked at.
        Raises PaymentNeeded where there is no payment or it does not pay, InvalidInput for a header that cannot be
        read, SettlementPending, RequestInProgress, Conflict, Unavailable.
        """
        sent = read_payment(headers) if named is None else None
        if sent is None and named is None:
            return await self._given_again(offer, headers)
        try:
            if named is not None:
                taken = await self._sales.take_named(offer, named)
            else:
                assert sent is not None
                taken = await self._sales.take(offer, sent)
        except ComplianceBlocked:
            raise  # no payment of this payer would cure it
        except (PaymentRefused, QuoteExpired) as refusal:
            raise self.needed(offer, refusal) from refusal
        return taken if isinstance(taken, Reply) else replace(taken, terms=self._terms)

    def needed(self, offer: Offer, refusal: AgentNodeError | None = None) -> PaymentNeeded:
        """The price as it is asked now, and why what came does not do."""
        required = self._sales.required(offer)
        extensions = payment_identifier.declared() | self._sign_ins.declared(offer.resource)
        if self._terms is not None:
            extensions |= self._terms.offered(required)
        return PaymentNeeded(required, refusal, extensions)

    def at_work(self, sale: Sale) -> AbstractAsyncContextManager[None]:
        """Keeps the sale while its work lasts; whatever is raised inside leaves the receipt unspent."""
        return self._sales.at_work(sale)

    async def hold(self, offer: Offer, sale: Sale) -> Hold:
        """The price, held while the work lasts. Raises PaymentNeeded where a receipt has too little left."""
        try:
            return await self._sales.hold(sale)
        except PaymentRefused as refusal:
            raise self.needed(offer, refusal) from refusal

    async def charge(self, sale: Sale, hold: Hold) -> None:
        await self._sales.charge(sale, hold)

    async def release(self, hold: Hold) -> None:
        await self._sales.release(hold)

    async def done(self, sale: Sale, reply: Reply | None) -> None:
        """The work is done: its answer is kept until the payer had it; None for what was streamed."""
        await self._sales.done(sale, reply)

    async def sent(self, sale: Sale, received: bool) -> None:
        """The answer has left. Who was there to have it gets it again only under a name that it gave."""
        await self._sales.sent(sale, received)

    async def _given_again(self, offer: Offer, headers: Iterable[Header]) -> Reply:
        try:
            payer = await self._sign_ins.payer(headers, offer.resource)
        except SignInRefused as refusal:
            raise self.needed(offer, refusal) from refusal
        if payer is None:
            raise self.needed(offer)
        reply = await self._sales.bought(offer, payer)
        if reply is None:
            raise self.needed(offer, AnswerNotKept(f"{payer} has bought no answer to this that is kept; pay for one"))
        return reply


def payment_required(needed: PaymentNeeded) -> Reply:
    """The 402: x402's object of version 2 in the header, and that of the lowest version that is spoken as the body.

    Clients of version 1 read the body; those that know both take the header where there is one.
    """
    asked, versions = needed.required, needed.required.x402_versions
    newest, told = (2, b"payment-response") if 2 in versions else (1, b"x-payment-response")
    required = asked.as_x402(2, needed.problem, extensions=needed.extensions)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"access-control-expose-headers", b"PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE"),
    ]
    if 2 in versions:
        headers.append((b"payment-required", encoded(required)))
    if isinstance(needed.refusal, PaymentRefused):
        failed = {
            "success": False,
            "errorReason": needed.refusal.x402_code,
            "errorMessage": needed.refusal.reason,
            "transaction": "",
            "network": asked.network_name(newest),
        }
        headers.append((told, encoded(failed)))
    signed = {name: said for name, said in needed.extensions.items() if name == OFFER_RECEIPT}
    body = asked.as_x402(1, needed.problem, extensions=signed) if 1 in versions else required
    return Reply(402, tuple(headers), orjson.dumps(body))


def sign_in_required(needed: SignInNeeded) -> Reply:
    """A 402 that no payment cures: our error is its body, and x402's object in the header asks for nothing but who."""
    asked = {
        "x402Version": 2,
        "error": needed.message,
        "resource": {"url": needed.resource, "description": "", "mimeType": "application/json"},
        "accepts": [],
        "extensions": dict(needed.extensions),
    }
    headers = [
        (b"content-type", b"application/json"),
        (b"payment-required", encoded(asked)),
        (b"cache-control", b"no-store"),
        (b"access-control-expose-headers", b"PAYMENT-REQUIRED"),
    ]
    return Reply(402, tuple(headers), orjson.dumps({"error": needed.as_dict()}))
