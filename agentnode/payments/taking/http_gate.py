"""The toll gate of requests: what one costs (HTTP 402), whether it is paid, and what to answer where it is not.

An endpoint makes an `Offer`, asks `HttpGate.take` with the request's headers, does its work inside `at_work`, and ends
with `charge` (a fixed price) or takes what the work came to from the sale's purse; then `done`, and `sent`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any

from agentnode.payments.asking.offer_receipt import SignedTerms
from agentnode.payments.asking.quotes import Quotes
from agentnode.payments.asking.requirement import Offer
from agentnode.payments.errors import (
    AnswerNotKept,
    ComplianceBlocked,
    PaymentNeeded,
    PaymentRefused,
    QuoteExpired,
    SignInRefused,
)
from agentnode.payments.schemes.onchain import NamedClaim
from agentnode.payments.taking import payment_identifier
from agentnode.payments.taking.deliveries import Deliveries
from agentnode.payments.taking.headers import Header, read_payment
from agentnode.payments.taking.reply import Reply
from agentnode.payments.taking.sales import Sale, Sales
from agentnode.payments.taking.sign_in import SignIns
from ledger.accounts import OPERATOR
from ledger.clock import Clock
from ledger.errors import AgentNodeError, BudgetRefused, HoldEnded, Unavailable
from ledger.events import EventDraft
from ledger.movements import tenant_account
from ledger.spend import Hold, Spend, share
from ledger.work import ClaimLost


class HttpGate:
    """`terms` signs what is asked, where that is wanted."""

    def __init__(
        self,
        sales: Sales,
        quotes: Quotes,
        sign_ins: SignIns,
        deliveries: Deliveries,
        spend: Spend,
        clock: Clock,
        terms: SignedTerms | None,
    ) -> None:
        self._sales, self._quotes, self._sign_ins, self._deliveries = sales, quotes, sign_ins, deliveries
        self._spend, self._clock, self._terms = spend, clock, terms

    async def take(self, offer: Offer, headers: Iterable[Header], named: NamedClaim | None = None) -> Sale | Reply:
        """The sale that the request's payment opens, or the answer it has bought before and not received.

        Without a payment, who signs in gets again what it has bought by the same request, while that is kept.
        `named` is a transfer that the request names in its body: then that pays, and no header is looked at.
        Raises PaymentNeeded where there is no payment or it does not pay, InvalidInput for a header that cannot be
        read, SettlementPending, RequestInProgress, Conflict, Unavailable.
        """
        try:
            if named is not None:
                return await self._sales.take_named(offer, named)
            sent = read_payment(headers)
            if sent is not None:
                return await self._sales.take(offer, sent)
        except ComplianceBlocked:
            raise  # no payment of this payer would cure it
        except (PaymentRefused, QuoteExpired) as refusal:
            raise self.needed(offer, refusal) from refusal
        return await self._given_again(offer, headers)

    def needed(self, offer: Offer, refusal: AgentNodeError | None = None) -> PaymentNeeded:
        """The price as it is asked now, and why what came does not do."""
        required = self._quotes.new(offer, self._clock.now_us())
        extensions = payment_identifier.declared() | self._sign_ins.declared(offer.resource)
        if self._terms is not None:
            extensions |= self._terms.offered(required)
        return PaymentNeeded(required, refusal, extensions)

    @contextlib.asynccontextmanager
    async def at_work(self, sale: Sale) -> AsyncIterator[None]:
        """Keeps the sale while its work lasts; whatever is raised inside leaves the receipt unspent."""
        deliveries, begun = self._deliveries, sale.begun
        async with self._kept(lambda: deliveries.renew(begun), lambda: deliveries.give_back(begun)):
            yield

    @contextlib.asynccontextmanager
    async def held(self, offer: Offer, sale: Sale) -> AsyncIterator[Hold]:
        """The price, held in the purse while the work lasts; whatever is raised gives it back.

        Raises PaymentNeeded where a receipt has too little left.
        """
        lease_s = self._deliveries.lease_s * 2
        try:
            hold = await self._spend.reserve(
                tenant_id="public",
                budgets=[share(sale.purse_id)],
                amount_usd_nanos=sale.price_usd_nanos,
                lease_s=lease_s,
            )
        except BudgetRefused as refusal:
            too_little = PaymentRefused("INSUFFICIENT_FUNDS", "the receipt has too little left")
            raise self.needed(offer, too_little) from refusal
        async with self._kept(lambda: self._spend.renew(hold, lease_s), lambda: self._release(hold)):
            yield hold

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

    async def done(self, sale: Sale, reply: Reply | None) -> None:
        """The work is done: its answer is kept until the payer had it; None for what was streamed."""
        with contextlib.suppress(ClaimLost):
            await self._deliveries.done(sale.begun, reply)

    async def sent(self, sale: Sale, received: bool) -> None:
        """The answer has left. Who was there to have it gets it again only under a name that it gave."""
        await self._deliveries.sent(sale.begun, received)

    async def _given_again(self, offer: Offer, headers: Iterable[Header]) -> Reply:
        try:
            payer = await self._sign_ins.payer(headers, offer.resource)
        except SignInRefused as refusal:
            raise self.needed(offer, refusal) from refusal
        if payer is None:
            raise self.needed(offer)
        reply = await self._deliveries.bought(payer, offer.input_hash)
        if reply is None:
            raise self.needed(offer, AnswerNotKept(f"{payer} has bought no answer to this that is kept; pay for one"))
        return reply

    @contextlib.asynccontextmanager
    async def _kept(
        self, renew: Callable[[], Awaitable[None]], give_back: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[None]:
        """Renewed while the block lasts, and given back where it raises."""
        renewing = asyncio.create_task(self._again_and_again(renew))
        try:
            yield
        except BaseException:
            await asyncio.shield(give_back())
            raise
        finally:
            renewing.cancel()

    async def _release(self, hold: Hold) -> None:
        with contextlib.suppress(HoldEnded, Unavailable):  # the sweeper ends it
            await self._spend.release(hold.id, fence=hold.fence)

    async def _again_and_again(self, renew: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._deliveries.lease_s / 3)
            with contextlib.suppress(Unavailable, ClaimLost, HoldEnded):
                await renew()
