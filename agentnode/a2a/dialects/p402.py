"""The P402 dialect: which requests are of it, how they are read, and how tasks, prices and errors look in it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from agentnode.a2a.events import View, text_of
from agentnode.a2a.incoming import CONFIGURATION, Incoming
from agentnode.a2a.tables import Task
from agentnode.payments import PaymentRequirement
from agentnode.payments.asking.task_metadata import STATUS
from ledger.clock import SECOND_US, rfc3339
from ledger.errors import AgentNodeError, InvalidInput
from ledger.ids import new_id
from ledger.money import usd_fields

DIALECT = "p402"
SEND, STREAM = "message/send", "message/stream"
PAYMENT_METHODS = ("x402/payment-required", "x402/payment-submitted", "x402/payment-completed")

_STATES = {
    "submitted": "pending",
    "working": "processing",
    "input-required": "pending",
    "completed": "completed",
    "failed": "failed",
    "rejected": "failed",
    "canceled": "cancelled",
}
_SYMBOLS = {"USDC": "USDC", "USD Coin": "USDC", "Tether USD": "USDT"}
PAYMENT_REQUIRED = -32007
_INVALID, _NOT_FOUND, _UNAUTHORISED, _BUDGET, _PROVIDER, _INTERNAL = -32602, -32001, -32004, -32005, -32006, -32603
_CODES = {400: _INVALID, 401: _UNAUTHORISED, 402: _BUDGET, 403: _UNAUTHORISED, 404: _NOT_FOUND, 502: _PROVIDER}


def is_p402(body: Any) -> bool:
    """Whether a part has a `type` and none a `kind`; or the method is one that only this dialect has."""
    if not isinstance(body, dict):
        return False
    if body.get("method") in PAYMENT_METHODS:
        return True
    params = body.get("params")
    message = params.get("message") if isinstance(params, dict) else None
    parts = message.get("parts") if isinstance(message, dict) else None
    of_objects = isinstance(parts, list) and all(isinstance(part, dict) for part in parts)
    if body.get("method") not in (SEND, STREAM) or not of_objects or not parts:
        return False
    return any("type" in part for part in parts) and not any("kind" in part for part in parts)


def read_message(params: Mapping[str, Any], idempotency_key: str | None) -> Incoming:
    """Raises InvalidInput naming the field. A message without an id is never taken for another one."""
    said = _object(params, "message")
    metadata, parts = _or_empty(said, "metadata"), said.get("parts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise InvalidInput("message.parts", "must be a list of parts")
    asked = _or_empty(params, "configuration")
    message: dict[str, Any] = {
        "messageId": _word(said, "messageId") or new_id("msg"),
        "role": "ROLE_USER",
        "parts": [_part(part, index) for index, part in enumerate(parts)],
    }
    kept = {key: value for key, value in metadata.items() if not str(key).startswith("x402.")}
    if asked:
        kept[CONFIGURATION] = asked
    if kept:
        message["metadata"] = kept
    return Incoming(
        message=message,
        text=text_of(message),
        metadata=(metadata, _or_empty(params, "metadata")),
        asked=params,
        dialect=DIALECT,
        x402_version=2,
        task_id=_word(params, "taskId") or _word(said, "taskId"),
        context_id=_word(params, "contextId") or _word(said, "contextId"),
        idempotency_key=idempotency_key,
    )


def task_json(task: Task, view: View) -> dict[str, Any]:
    status = view["status"]
    told = status.get("message")
    shown: dict[str, Any] = {"state": _STATES[status["state"]], "timestamp": rfc3339(status["at_us"])}
    if told is not None and (text := text_of(told)):
        shown["message"] = text
    cost_usd_nanos = task.price_usd_nanos if task.paid else 0
    until_us = task.ended_at_us or status["at_us"]
    return {
        "id": task.id,
        "contextId": task.context_id,
        "status": shown,
        "artifacts": [artifact_json(each) for each in view.get("artifacts", ())],
        "metadata": {**usd_fields("cost_usd", cost_usd_nanos), "latency_ms": (until_us - task.created_at_us) // 1_000},
    }


def artifact_json(artifact: Mapping[str, Any]) -> dict[str, Any]:
    parts = [_shown(part) for part in artifact["parts"]]
    return {"id": artifact["artifactId"], "name": artifact["name"], "parts": parts}


def owes(task: Task, view: View) -> bool:
    """Whether the task waits for its price."""
    told = view["status"].get("message") or {}
    waits = view["status"]["state"] == "input-required" and task.price_usd_nanos > 0 and not task.paid
    return waits and STATUS in told.get("metadata", {})


def price_json(asked: PaymentRequirement) -> dict[str, Any]:
    """P402's payment-required object; the nonce is one that may be signed, any other does too."""
    return {
        "payment_id": asked.payment_id,
        "schemes": [
            _scheme("exact", asked) | {"nonce": "0x" + hashlib.sha256(asked.payment_id.encode()).hexdigest()},
            _scheme("receipt", asked) | {"nonce": asked.quote_id},
            *(_scheme("onchain", each) for each in (asked, *asked.alternatives)),
        ],
        "service_description": asked.description,
        "expires_at": rfc3339(asked.expires_at_us),
        "x402": asked.as_x402(2),
    }


def _scheme(scheme: str, asked: PaymentRequirement) -> dict[str, Any]:
    asset = asked.asset
    domain = {"name": asset.name, "version": asset.version}
    if scheme != "exact":
        domain = {"name": "agentnode", "version": "1", "authority": asked.authority}
    return {
        "scheme": scheme,
        "recipient": asked.pay_to,
        "amount": str(asked.amount_atomic),
        "asset": _SYMBOLS.get(asset.name, asset.name),
        "network": asset.network,
        "domain": domain,
        "verifyingContract": asset.address,
        "valid_until": asked.expires_at_us // SECOND_US,
    }


def payload_of(params: Mapping[str, Any], asked: PaymentRequirement) -> dict[str, Any]:
    """x402's payload of what `x402/payment-submitted` carries. Raises InvalidInput."""
    scheme = params.get("scheme")
    match scheme:
        case "exact":
            inner = {"signature": params.get("signature"), "authorization": _object(params, "authorization")}
        case "onchain":
            asked = asked.in_token(_word(params, "asset") or asked.asset.address)
            inner = {"txHash": params.get("tx_hash"), "signature": params.get("signature")}
        case "receipt":
            inner = {
                "receiptId": params.get("receipt_id"),
                "counter": params.get("counter"),
                "signature": params.get("signature"),
            }
        case _:
            raise InvalidInput("scheme", "must be exact, onchain or receipt")
    return {"x402Version": 2, "accepted": asked.accepts_v2(scheme), "payload": inner}


def payment_json(status: Mapping[str, Any]) -> dict[str, Any]:
    """`{payment_id, task_id, status, settlement, receipt}` of what the gate knows of a payment."""
    shown = {key: status[key] for key in ("payment_id", "task_id", "status")}
    if (settlement := status.get("settlement")) is not None:
        shown["settlement"] = {**settlement, "fee_usd": 0}
    receipts = status.get("receipts") or ()
    if receipts:
        last = receipts[-1]
        # It was spent on its task: until when it could have bought something else is no question.
        shown["receipt"] = {"receipt_id": last["receiptId"], "signature": last["receipt"], "valid_until": None}
    return shown


def error_json(error: AgentNodeError) -> dict[str, Any]:
    """In this dialect only: -32001 not found, -32004 unauthorised, -32005 budget, -32006 provider."""
    return {"code": _CODES.get(error.status, _INTERNAL), "message": error.message, "data": error.as_dict()}


def _part(part: Mapping[str, Any], index: int) -> dict[str, Any]:
    where = f"message.parts.{index}"
    match part.get("type"):
        case "text" if isinstance(part.get("text"), str):
            return {"text": part["text"]}
        case "data" if "data" in part:
            return {"data": part["data"]}
    raise InvalidInput(where, "must be {type: text, text} or {type: data, data}")


def _shown(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = "text" if "text" in part else "data" if "data" in part else "file"
    return {"type": kind, **part}


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise InvalidInput(name, "must be an object")
    return value


def _or_empty(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _object(values, name) if values.get(name) is not None else {}


def _word(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(name, "must be a string")
    return value or None
