"""A completion bought from another agent: from the cheapest listing that chats, within a mandate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentnode.hire.buyer import Buyer
from agentnode.hire.errors import NothingToBuy, PurchaseUnfinished
from agentnode.hire.request import HireRequest
from bazaar import Bazaar
from engine import Attempt, Call, Completion, CompletionRequest, Options, Usage
from ledger.accounts import Account
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError
from ledger.money import usd_nanos

PROVIDER = "bazaar"
CAPABILITY = "chat"
MOST_SELLERS = 3


@dataclass(frozen=True)
class Offer:
    resource_id: str
    price_usd_nanos: int


class ChatBuyer:
    """Buys what could not be had from the node's own upstreams. What is bought is an agent's work and not a model's:
    `model` says whose."""

    def __init__(self, bazaar: Bazaar, buyer: Buyer, clock: Clock) -> None:
        self._bazaar, self._buyer, self._clock = bazaar, buyer, clock

    async def buy(self, request: CompletionRequest, account: Account, call: Call, options: Options) -> Completion:
        """The answer of the first of the cheapest that takes the work, paid within `options.mandate_id`.

        Raises NothingToBuy where nothing was paid: no mandate named, what is asked cannot be said in words, the
        policy keeps agents out, nobody sells it, or each refused. Raises PurchaseUnfinished once money may have moved
        and no answer has come.
        """
        began_us = self._clock.now_us()
        if options.mandate_id is None:
            raise NothingToBuy("no p402.mandate_id says from which mandate")
        if request.needs != {CAPABILITY} or request.choices > 1:
            raise NothingToBuy("another agent is asked in words alone, and answers once")
        if PROVIDER in options.exclude_providers or not _lets_agents_in(account):
            raise NothingToBuy("the policy or the request keeps other agents out")
        reason = f"nobody sells {CAPABILITY} within what it may cost"
        for offer in await self._offers(account, options):
            wanted = HireRequest(
                message=words_of(request),
                resource_id=offer.resource_id,
                max_price_usd_nanos=offer.price_usd_nanos,
                mandate_id=options.mandate_id,
            )
            try:
                hired = await self._buyer.hire(account.tenant_id, wanted)
            except AgentNodeError as refusal:  # nothing was paid
                reason = f"{offer.resource_id}: {refusal.code}: {refusal.message}"
                continue
            if hired["payment"] and hired["payment"]["status"] == "released":
                reason = f"{offer.resource_id} did not take the payment"
                continue
            if hired["status"] != "completed":
                raise PurchaseUnfinished(hired["call_id"])
            return self._completion(hired, offer, options, began_us)
        raise NothingToBuy(reason)

    async def _offers(self, account: Account, options: Options) -> list[Offer]:
        most = account.policy.limits.usd_nanos_per_request
        if options.max_cost_usd_nanos is not None:
            most = min(most, options.max_cost_usd_nanos)
        found = await self._bazaar.discover({"capability": CAPABILITY, "sort": "price_low", "limit": MOST_SELLERS})
        offers = (
            Offer(listing["id"], usd_nanos(listing["price_per_call_usd_exact"], "price_per_call_usd"))
            for listing in found["resources"]
        )
        return [offer for offer in offers if offer.price_usd_nanos <= most]

    def _completion(self, hired: dict[str, Any], offer: Offer, options: Options, began_us: int) -> Completion:
        payment = hired["payment"]
        paid = usd_nanos(payment["amount_usd_exact"], "amount_usd") if payment else 0
        model, event_id = f"{PROVIDER}/{offer.resource_id}", hired["event_id"] or hired["call_id"]
        now_us = self._clock.now_us()
        message = {"role": "assistant", "content": hired["task"]["text"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        took_ms = max(0, now_us - began_us) // 1_000
        return Completion(
            id=event_id,
            provider=PROVIDER,
            model=model,
            body={
                "id": event_id,
                "object": "chat.completion",
                "created": now_us // SECOND_US,
                "model": model,
                "choices": [choice],
            },
            usage=Usage(),
            cost_usd_nanos=paid,
            latency_ms=took_ms,
            provider_latency_ms=took_ms,
            mode=options.mode,
            attempts=(Attempt(PROVIDER, model, "served", event_id, paid),),
            bought_call_id=hired["call_id"],
        )


def words_of(request: CompletionRequest) -> str:
    """A conversation as one text; a single question as it is."""
    if len(request.texts) == 1:
        return request.texts[0]
    said = zip(request.messages, request.texts, strict=True)
    return "\n\n".join(f"{message['role']}: {text}" for message, text in said if text)


def _lets_agents_in(account: Account) -> bool:
    """Who lists the vendors or models that may see a request has not listed strangers."""
    policy = account.policy
    lists = (policy.vendors, policy.models)
    return all(names.allow is None or PROVIDER in names.allow for names in lists) and all(
        PROVIDER not in names.deny for names in lists
    )
