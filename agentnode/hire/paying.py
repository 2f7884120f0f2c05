"""From a price to a signature that may leave: every check, then the hold, then the signature, then the journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentnode.hire.calls import Bind, Calls
from agentnode.hire.card_keys import Checked
from agentnode.hire.ending import Ending
from agentnode.hire.errors import WalletTooLow
from agentnode.hire.purse import Purse
from agentnode.hire.quote import Quote, check_quote, read_quote
from agentnode.hire.request import HireRequest, ListedTerms
from agentnode.hire.seller import SellerTask
from agentnode.hire.signed_terms import checked_offer
from agentnode.hire.tables import HireCall
from agentnode.hire.wallet import SignedPayment, Wallets, sign_payment
from agentnode.payments.asking import task_metadata as x402
from ledger.errors import AgentNodeError
from ledger.ids import new_id
from ledger.money import Asset
from trust.networks import chain_id_of
from trust.web import GuardedClient

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from agentnode.payments.compliance import Compliance
    from trust.chain import ChainView

WINDOW_S = 120
"""How long a payment may be taken at most: long enough for a seller to restart, short enough to wait for its end."""


class Payer:
    def __init__(
        self,
        calls: Calls,
        purse: Purse,
        ending: Ending,
        wallets: Wallets,
        chain: ChainView,
        asset: Asset,
        web: GuardedClient,
        compliance: Compliance | None,
        window_s: int = WINDOW_S,
    ) -> None:
        self._calls = calls
        self._purse = purse
        self._ending = ending
        self._wallets = wallets
        self._chain = chain
        self._asset = asset
        self._web = web
        self._compliance = compliance
        self._window_s = window_s

    async def commit(
        self,
        tenant_id: str,
        call_id: str,
        request: HireRequest,
        terms: ListedTerms,
        checked: Checked,
        asked: SellerTask,
        bind: Bind | None = None,
    ) -> tuple[HireCall, SignedPayment]:
        """A signed payment whose call is journaled and whose hold only the chain ends: it may leave now.

        Raises HireRefused's leaves, ComplianceBlocked, WalletUnknown, ChainUnavailable, and what the mandate or the
        budget refuses with; then nothing has left and nothing is held.
        """
        required = asked.payment.get(x402.REQUIRED)
        quote = read_quote(required, self._asset)
        check_quote(quote, terms, self._asset, request.max_price_usd_nanos)
        offer = await checked_offer(required, quote, terms.card_url, self._asset.network, self._web)
        account = await asyncio.to_thread(self._wallets.account, tenant_id)
        if self._compliance is not None:
            await self._compliance.check(account.address, quote.pay_to)
        head = await self._chain.head()
        balance = await self._chain.balance(self._asset.address, account.address)
        if balance < quote.amount_atomic:
            raise WalletTooLow(f"{account.address} has {balance} and {quote.amount_atomic} are asked; fund it")
        call = self._call(tenant_id, call_id, request, terms, checked, asked, quote, account.address)
        call.signed_offer = offer
        await self._calls.plan(call)
        try:
            return call, await self._signed(call, request, account, quote, head.number, bind)
        except BaseException as reason:
            # Nothing has left. What cannot be given back now is found again by its plan.
            failure = reason.code if isinstance(reason, AgentNodeError) else type(reason).__name__
            await asyncio.shield(self._ending.give_back(call, failure))
            raise

    async def _signed(
        self,
        call: HireCall,
        request: HireRequest,
        account: LocalAccount,
        quote: Quote,
        at_block: int,
        bind: Bind | None,
    ) -> SignedPayment:
        hold = await self._purse.hold(call, request, chain_id_of(call.network))
        await self._purse.mark_sent(call, hold)
        self._calls.point("marked")
        signed = await asyncio.to_thread(sign_payment, account, quote, self._asset, self._window_s)
        await self._calls.signed(call, signed, at_block, bind)
        return signed

    def _call(
        self,
        tenant_id: str,
        call_id: str,
        request: HireRequest,
        terms: ListedTerms,
        checked: Checked,
        asked: SellerTask,
        quote: Quote,
        payer: str,
    ) -> HireCall:
        return HireCall(
            id=call_id,
            tenant_id=tenant_id,
            resource_id=terms.resource_id,
            card_url=terms.card_url,
            card=checked,
            skill=request.skill or terms.skill,
            mandate_id=request.mandate_id,
            use_id=new_id("use" if request.mandate_id else "hold"),
            amount_usd_nanos=quote.cost_usd_nanos,
            network=self._asset.network,
            asset=self._asset.address.lower(),
            payer=payer.lower(),
            payee=quote.pay_to,
            amount_atomic=str(quote.amount_atomic),
            task_id=asked.id,
            context_id=asked.context_id,
            task_state=asked.state,
            lease_until_us=0,
            created_at_us=0,
            updated_at_us=0,
        )
