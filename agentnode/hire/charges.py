"""A metered charge, recomputed by who paid it from the seller's signed usage and rates before its work is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from agentnode.hire.cards import read_object
from agentnode.hire.errors import ChargeRefused
from agentnode.hire.result import text_of
from agentnode.hire.seller import SellerTask
from agentnode.hire.signed_terms import PublishedKeys
from agentnode.hire.tables import HireCall
from engine import ModelPrice, TokenRate, Usage, cost_usd_nanos
from ledger.errors import AgentNodeError
from ledger.money import usd_fields
from trust.web import GuardedClient

_PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
_EVENT = re.compile(r'"id"\s*:\s*"(evt_[0-9A-Za-z_]{1,64})"')


async def with_charge_checked(call: HireCall, task: SellerTask, web: GuardedClient) -> SellerTask:
    """The task, failed where its seller charged more than its own signed usage comes to.

    Where the seller states no charge of its answer, the price that was paid is the charge.
    """
    receipt_id, event = (task.receipt or {}).get("receiptId"), _EVENT.search(text_of(task))
    if not call.is_http or task.state != "completed" or not isinstance(receipt_id, str) or event is None:
        return task
    parts = urlsplit(call.card_url)
    path = f"/api/v2/receipts/{quote(receipt_id, safe='')}/charges/{event[1]}"
    try:
        reply = await web.get(urlunsplit((parts.scheme, parts.netloc, path, "", "")))
        if reply.status == 404:
            return task
        stated = {"format": "jws", "signature": read_object(reply, "charge").get("statement")}
        claims = await PublishedKeys(call.card_url, web).payload(stated)
        if claims is None:
            raise ChargeRefused("the seller's statement of the charge is not signed by its own key")
        charged = check_charge(claims, receipt_id, event[1], call.amount_usd_nanos)
    except AgentNodeError as refusal:
        return replace(task, state="failed", content={**task.content, "error": refusal.as_dict()})
    return replace(task, content={**task.content, "charge": {**usd_fields("cost_usd", charged), **stated}})


def check_charge(claims: Mapping[str, Any], receipt_id: str, event_id: str, paid_usd_nanos: int) -> int:
    """The charge in USD nanos, if it is what usage and rates come to and no more than was paid. Pure.

    Raises ChargeRefused saying what is off; also for claims that cannot be read.
    """
    try:
        asked, named = int(claims["cost_usd_nanos"]), (claims["receipt_id"], claims["jti"])
        owed = recomputed(claims["usage"], claims["price"])
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ChargeRefused("the seller's statement of the charge cannot be read") from error
    if named != (receipt_id, event_id):
        raise ChargeRefused("the seller's statement is of another charge")
    if asked > owed:
        raise ChargeRefused(f"{asked} nanos are charged, and usage and rates come to {owed}")
    if asked > paid_usd_nanos:
        raise ChargeRefused(f"{asked} nanos are charged of the {paid_usd_nanos} that were paid")
    return asked


def recomputed(usage: Mapping[str, Any], price: Mapping[str, Any]) -> int:
    """What usage and rates come to, in USD nanos."""
    tokens = Usage(*(int(usage[part]) for part in _PARTS))
    listed = price["usd_nanos_per_mtok"]
    fresh, read, written, output, reasoning = (
        TokenRate(int(listed[part]["base"]), tuple((int(more), int(then)) for more, then in listed[part]["steps"]))
        for part in _PARTS
    )
    return cost_usd_nanos(tokens, ModelPrice(fresh, read, written, output, reasoning, str(price["version"])))
