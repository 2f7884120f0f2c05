"""HTTP 402 for any endpoint: what a request costs, whether it is paid, and what to answer where it is not.

An endpoint makes an `Offer`, asks `Toll.take` with the request's headers, does its work inside `Toll.at_work`, and ends
with `charge` (a fixed price) or takes what the work came to from the sale's purse; then `done`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import orjson

from agentnode.payments import identifier
from agentnode.payments.deliveries import Reply
from agentnode.payments.errors import ComplianceBlocked, PaymentNeeded, PaymentRefused, QuoteExpired
from agentnode.payments.headers import Header, encoded, read_payment
from agentnode.payments.offers import Offer
from agentnode.payments.requirement import PaymentRequirement
from agentnode.payments.sales import Sale, Sales
from ledger.spend import Hold

_SCHEMES = ("exact", "receipt")


class Toll:
    def __init__(self, sales: Sales) -> None:
        self._sales = sales

    async def take(self, offer: Offer, headers: Iterable[Header]) -> Sale | Reply:
        """The sale that the request's payment opens, or the answer it has bought before and not received.

        Raises PaymentNeeded where there is no payment or it does not pay, InvalidInput for a header that cannot be
        read, SettlementPending, RequestInProgress, Conflict, Unavailable.
        """
        sent = read_payment(headers)
        if sent is None:
            raise PaymentNeeded(self._sales.required(offer))
        try:
            return await self._sales.take(offer, sent)
        except ComplianceBlocked:
            raise  # no payment of this payer would cure it
        except (PaymentRefused, QuoteExpired) as refusal:
            raise PaymentNeeded(self._sales.required(offer), refusal) from refusal

    def required(self, offer: Offer) -> PaymentRequirement:
        """The price as it is asked now."""
        return self._sales.required(offer)

    def at_work(self, sale: Sale) -> AbstractAsyncContextManager[None]:
        """Keeps the sale while its work lasts; whatever is raised inside leaves the receipt unspent."""
        return self._sales.at_work(sale)

    async def hold(self, offer: Offer, sale: Sale) -> Hold:
        """The price, held while the work lasts. Raises PaymentNeeded where a receipt has too little left."""
        try:
            return await self._sales.hold(sale)
        except PaymentRefused as refusal:
            raise PaymentNeeded(self._sales.required(offer), refusal) from refusal

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


def payment_required(needed: PaymentNeeded) -> Reply:
    """The 402: x402's object of version 2 in the header, and that of the lowest version that is spoken as the body.

    Clients of version 1 read the body; those that know both take the header where there is one.
    """
    asked, versions = needed.required, needed.required.x402_versions
    newest, told = (2, b"payment-response") if 2 in versions else (1, b"x-payment-response")
    required = asked.as_x402(2, needed.problem, _SCHEMES, identifier.declared())
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
    body = asked.as_x402(1, needed.problem) if 1 in versions else required
    return Reply(402, tuple(headers), orjson.dumps(body))
