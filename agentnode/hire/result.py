"""What a hire comes to, as `POST /api/v2/bazaar/call` answers it (wire.md, Bazaar). Pure."""

from __future__ import annotations

from typing import Any, Literal

import orjson

from agentnode.hire.card_keys import Checked
from agentnode.hire.seller import SellerTask
from agentnode.hire.tables import HireCall, event_id
from ledger.money import usd_fields

Status = Literal["completed", "pending", "failed"]

_PAYMENT_STATUS = {"planned": "pending", "signed": "pending", "paid": "settled", "released": "released"}


def status_of(call: HireCall) -> Status:
    """Pending until the chain has decided on the money and the task has ended."""
    if call.point == "released":
        return "completed" if call.task_state == "completed" else "failed"
    if call.point != "paid" or not call.task_ended:
        return "pending"
    return "completed" if call.task_state == "completed" else "failed"


def paid_result(call: HireCall, task: SellerTask | None) -> dict[str, Any]:
    """The answer for a call with a price; `task` is None where the seller cannot be asked at the moment."""
    settled = call.point == "paid"
    return {
        "call_id": call.id,
        "resource_id": call.resource_id,
        "status": status_of(call),
        "task": task_shown(task) if task else {"id": call.task_id, "state": call.task_state},
        "payment": {
            **usd_fields("amount_usd", call.amount_usd_nanos if call.point != "released" else 0),
            "status": _PAYMENT_STATUS[call.point],
            "tx_hash": call.tx_hash or None,
            "receipt": call.receipt or None,
            "receipt_verified": bool(call.receipt),
            "signed_offer": orjson.loads(call.signed_offer) if call.signed_offer else None,
            "signed_delivery": orjson.loads(call.signed_delivery) if call.signed_delivery else None,
            "evidence": "chain" if settled and call.tx_hash else "none",
            "network": call.network,
            "asset": call.asset,
            "amount_atomic": call.amount_atomic,
            "payer": call.payer,
            "payee": call.payee,
            "nonce": call.nonce or None,
            "valid_before": call.valid_before_s or None,
        },
        "card": card_shown(call.card),
        "mandate_id": call.mandate_id,
        "mandate_use_id": call.use_id if call.mandate_id else None,
        "event_id": event_id(call.id) if settled else None,
        "attempts": [
            {
                "resource_id": call.resource_id,
                "agent_card_url": call.card_url,
                "outcome": _PAYMENT_STATUS[call.point],
                "reason": call.failure or None,
            }
        ],
    }


def free_result(
    call_id: str, resource_id: str | None, card_url: str, checked: Checked, task: SellerTask
) -> dict[str, Any]:
    """The answer for work that nobody asked a price for."""
    ended = "completed" if task.state == "completed" else "failed"
    return {
        "call_id": call_id,
        "resource_id": resource_id,
        "status": ended if task.ended else "pending",
        "task": task_shown(task),
        "payment": None,
        "card": card_shown(checked),
        "mandate_id": None,
        "mandate_use_id": None,
        "event_id": event_id(call_id),
        "attempts": [{"resource_id": resource_id, "agent_card_url": card_url, "outcome": "free", "reason": None}],
    }


def card_shown(checked: Checked) -> dict[str, Any] | None:
    """What the seller's card was found to be, before the seller was asked; None where there was none."""
    if not checked:
        return None
    return {name: checked.get(name) for name in ("sha256", "signed_by", "key_from")}


def task_shown(task: SellerTask) -> dict[str, Any]:
    """The seller's task in A2A 1.0 JSON, with its state in short and its answer as one text beside it."""
    return {**task.content, "id": task.id, "context_id": task.context_id, "state": task.state, "text": text_of(task)}


def text_of(task: SellerTask) -> str:
    artifacts = task.content.get("artifacts") or []
    parts = [part for artifact in artifacts for part in artifact.get("parts", [])]
    if not parts:
        parts = task.content.get("status", {}).get("message", {}).get("parts", [])
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
