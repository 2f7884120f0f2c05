"""Follows a paid task and its payment to their ends: in the call itself, later on demand, and after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from agentnode.hire.calls import Calls
from agentnode.hire.card_keys import CardKeys
from agentnode.hire.cards import AgentCards
from agentnode.hire.ending import Ending
from agentnode.hire.proof import checked_receipt
from agentnode.hire.seller import Conversation, SellerTask, seller_of
from agentnode.hire.signed_terms import checked_delivery
from agentnode.hire.tables import HireCall
from ledger.errors import AgentNodeError
from trust.errors import ChainUnavailable
from trust.web import GuardedClient

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 30.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


async def until(
    seller: Conversation, task: SellerTask, reached: Callable[[SellerTask], bool], timeout_s: float
) -> SellerTask:
    """The task once it is as far as `reached` asks, or as it is when the time is over. A silent seller is asked on."""
    loop = asyncio.get_running_loop()
    deadline_s, pause_s = loop.time() + timeout_s, _FIRST_PAUSE_S
    while not reached(task) and task.id and loop.time() < deadline_s:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        with suppress(AgentNodeError):
            task = await seller.task(task.id)
    return task


class Following:
    """`ending` is None where there is no chain: then there are no calls with a price either."""

    def __init__(
        self, calls: Calls, ending: Ending | None, cards: AgentCards, card_keys: CardKeys, web: GuardedClient
    ) -> None:
        self._calls = calls
        self._ending = ending
        self._cards = cards
        self._card_keys = card_keys
        self._web = web

    async def note(self, call: HireCall, task: SellerTask) -> None:
        """Write down how far the task is, with the seller's receipt once it has given one that holds."""
        receipt = call.receipt or await checked_receipt(call, task.receipt, self._web)
        delivery = call.signed_delivery or await checked_delivery(call, task.receipt, self._web)
        await self._calls.task_seen(call, task.state, task.ended, receipt, delivery)

    async def end_payment(self, call: HireCall, task: SellerTask | None, wait_s: float = 0) -> None:
        """Let the chain decide on the money; a seller's word that it was paid is a hint where to look, no more.

        A chain that does not answer leaves it open.
        """
        receipt = task.receipt if task else None
        claimed = str(receipt.get("transaction") or "") if receipt else ""
        loop = asyncio.get_running_loop()
        deadline_s, pause_s = loop.time() + wait_s, _FIRST_PAUSE_S
        while self._ending is not None and call.point == "signed":
            with suppress(ChainUnavailable):
                if await self._ending.by_chain(call, claimed) != "open":
                    return
            if loop.time() >= deadline_s:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    async def ask(self, call: HireCall) -> SellerTask | None:
        """The seller's task as it is now; None where the seller cannot be asked."""
        if call.is_http:
            return None
        try:
            card = await self._cards.read(call.card_url)
            await self._card_keys.check(card, call.card_url, call.card.get("pin"))
            async with seller_of(card, self._web, REQUEST_TIMEOUT_S) as seller:
                return await seller.task(call.task_id)
        except AgentNodeError as silent:
            _log.info("call %s: the seller cannot be asked (%s)", call.id, silent.code)
            return None

    async def catch_up(self, call: HireCall) -> SellerTask | None:
        """Bring a call as far as seller and chain allow now; what the seller has of it, content included."""
        # The money first: its end does not depend on a seller that may be silent.
        await self.end_payment(call, None)
        return await self.look(call)

    async def look(self, call: HireCall) -> SellerTask | None:
        """The seller's task as it is now, written down until it has ended; None where the seller cannot be asked."""
        if call.is_http and not call.task_ended:
            await self._calls.answer_lost(call)
        task = await self.ask(call)
        if task is not None and not call.task_ended:
            await self.note(call, task)
        return task
