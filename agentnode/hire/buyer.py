"""The buyer: finds the seller, hears the price, pays under the mandate, gets the work, and has the proof."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from agentnode.hire.calls import Bind, Calls
from agentnode.hire.card_keys import CardKeys, Checked
from agentnode.hire.cards import AgentCards
from agentnode.hire.charges import with_charge_checked
from agentnode.hire.errors import ListingNotActive
from agentnode.hire.following import REQUEST_TIMEOUT_S, Following, until
from agentnode.hire.http_seller import http_seller_of
from agentnode.hire.paying import Payer
from agentnode.hire.recovery import Recovery
from agentnode.hire.request import HireRequest, ListedTerms
from agentnode.hire.result import free_result, paid_result
from agentnode.hire.seller import Conversation, SellerTask, seller_of
from agentnode.hire.tables import HireCall, event_id
from agentnode.hire.wallet import SignedPayment
from agentnode.payments import PaymentsAbsent
from bazaar import Bazaar
from ledger.errors import AgentNodeError, InvalidInput
from ledger.events import EventDraft
from ledger.ids import new_id
from ledger.spend import Spend
from trust.web import GuardedClient

_log = logging.getLogger(__name__)

FOLLOW_S = 60.0
_CHAIN_WAIT_S = 10.0


class Buyer:
    """Hires for a tenant, with the tenant's wallet. `payer` is None where the node has no chain: free work only."""

    def __init__(
        self,
        bazaar: Bazaar,
        web: GuardedClient,
        card_keys: CardKeys,
        spend: Spend,
        calls: Calls,
        following: Following,
        recovery: Recovery,
        payer: Payer | None,
        follow_s: float = FOLLOW_S,
    ) -> None:
        self._bazaar = bazaar
        self._web = web
        self._cards = AgentCards(web)
        self._card_keys = card_keys
        self._spend = spend
        self._calls = calls
        self._following = following
        self._recovery = recovery
        self._payer = payer
        self._follow_s = follow_s

    async def hire(self, tenant_id: str, request: HireRequest, bind: Bind | None = None) -> dict[str, Any]:
        """One piece of work from one seller: `{call_id, resource_id, status, task, payment, mandate_use_id, attempts}`.

        `pending` where the money or the task has not reached its end in time; it is then brought there by the
        recovery, and `call` shows it. `bind` hears the call's id before a payment leaves, and none leaves where it
        raises; of free work it hears nothing. Raises before anything was paid: NotFound, InvalidInput, AddressRefused,
        FetchFailed, SellerUnreachable, SellerRefused, HireRefused's leaves, PaymentsAbsent, WalletUnknown,
        ChainUnavailable, and the refusals of mandates and budgets. Once a payment has left it raises nothing of that.
        """
        terms = await self._terms(request)
        call_id = new_id("call")
        async with self._seller(terms, request, call_id) as (seller, checked):
            asked = await seller.ask(f"{call_id}-ask", request.message, request.skill or terms.skill)
            asked = await until(seller, asked, _answered, self._follow_s)
            if not asked.asks_payment:
                return await self._free(tenant_id, call_id, terms, checked, asked)
            if self._payer is None:
                raise PaymentsAbsent
            call, signed = await self._payer.commit(tenant_id, call_id, request, terms, checked, asked, bind)
            task = await self._deliver(seller, call, signed, asked)
        return paid_result(call, task)

    async def call(self, tenant_id: str, call_id: str) -> dict[str, Any]:
        """A call with a price as it stands now, with the seller's task where it can still be had.

        Raises CallUnknown.
        """
        call = await self._calls.get(tenant_id, call_id)
        return paid_result(call, await self._following.catch_up(call))

    async def settle_open_calls(self) -> int:
        """To be called at start and on a tick: ends what crashes and silent sellers left open."""
        return await self._recovery.settle_open_calls()

    @contextlib.asynccontextmanager
    async def _seller(
        self, terms: ListedTerms, request: HireRequest, call_id: str
    ) -> AsyncIterator[tuple[Conversation, Checked]]:
        """Whom to talk to, and what was found out of its card; an HTTP resource has none."""
        if request.http is not None:
            async with http_seller_of(terms.card_url, request.http, call_id, self._web, REQUEST_TIMEOUT_S) as resource:
                yield resource, {}
            return
        card = await self._cards.read(terms.card_url)
        checked = await self._card_keys.check(card, terms.card_url, request.card_key)
        async with seller_of(card, self._web, REQUEST_TIMEOUT_S) as agent:
            yield agent, checked

    async def _terms(self, request: HireRequest) -> ListedTerms:
        terms = await self._named(request)
        if request.http is None:
            return terms
        if terms.endpoint is None:
            raise InvalidInput("http", "goes with a listing that has an endpoint")
        return replace(terms, card_url=terms.endpoint)

    async def _named(self, request: HireRequest) -> ListedTerms:
        if request.resource_id is not None:
            listing = await self._bazaar.get(request.resource_id)
            if listing["status"] != "active":
                raise ListingNotActive(f"{request.resource_id} is {listing['status']}; choose another")
            return ListedTerms.of(listing)
        if request.listing is not None:
            return request.listing
        if request.http is not None and request.http.url is not None:
            return ListedTerms(resource_id=None, card_url=request.http.url, endpoint=request.http.url)
        assert request.agent_card_url is not None, "parse asked for one of the four"
        return ListedTerms(resource_id=None, card_url=request.agent_card_url)

    async def _free(
        self, tenant_id: str, call_id: str, terms: ListedTerms, checked: Checked, task: SellerTask
    ) -> dict[str, Any]:
        if task.ended:
            await self._spend.record(
                EventDraft(
                    id=event_id(call_id),
                    kind="hire",
                    tenant_id=tenant_id,
                    request_id=call_id,
                    task_id=task.id or None,
                    provider=terms.resource_id,
                    decision="allowed",
                )
            )
        return free_result(call_id, terms.resource_id, terms.card_url, checked, task)

    async def _deliver(
        self, seller: Conversation, call: HireCall, signed: SignedPayment, asked: SellerTask
    ) -> SellerTask:
        """Send the payment, and follow task and money until both have ended or the time is over."""
        try:
            task = await seller.pay(f"{call.id}-pay", asked, signed.payload)
        except AgentNodeError as lost:
            # The answer was lost, which does not mean that the payment was.
            _log.warning("call %s: no answer to the payment (%s); the task is asked instead", call.id, lost.code)
            task = asked
        self._calls.point("submitted")
        task = await until(seller, task, _decided, self._follow_s)
        task = await with_charge_checked(call, task, self._web)
        await self._following.note(call, task)
        # A seller that says it was paid has seen the chain before we have.
        await self._following.end_payment(call, task, min(_CHAIN_WAIT_S, self._follow_s) if task.receipt else 0)
        return task


def _answered(task: SellerTask) -> bool:
    """The seller has said what it wants, or has done the work."""
    return task.ended or task.state in ("input-required", "auth-required")


def _decided(task: SellerTask) -> bool:
    """The work has ended, or the seller says that it does not take the payment."""
    return task.ended or task.payment_refused
