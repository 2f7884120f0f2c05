"""What a remote facilitator's answer says about the money. Pure: nothing here is believed without the chain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["settled", "refused", "unreached", "unknown"]


@dataclass(frozen=True)
class Word:
    """`settled`: it names a transaction. `refused`: it says that it did not send. `unreached`: it was never asked.
    `unknown`: it may have sent, or will."""

    kind: Kind
    tx_hash: str = ""
    reason: str = ""


_SENT_PERHAPS = ("pending", "timeout", "timed_out", "transaction_failed", "transaction_state", "unexpected", "rpc")
"""In the reasons of facilitators that had begun: of x402's own, settlement_pending and transaction_failed."""


def settle_word(status: int, body: bytes) -> Word:
    """Of an answer to `POST /settle`. A 5xx, a redirect and what cannot be read may all have settled."""
    answer = _object(body)
    reason = str(answer.get("errorReason") or answer.get("error") or f"status {status}")[:200]
    transaction = str(answer.get("transaction") or "")
    if 200 <= status < 300 and answer.get("success") is True:
        return Word("settled", transaction, "" if transaction else "no transaction was named")
    if transaction or any(part in reason.lower() for part in _SENT_PERHAPS):
        return Word("unknown", transaction, reason)
    if 400 <= status < 500 and status not in (408, 409, 425):
        return Word("refused", reason=reason)
    if 200 <= status < 300 and answer.get("success") is False:
        return Word("refused", reason=reason)
    return Word("unknown", reason=reason)


def kinds_of(body: bytes) -> list[dict[str, Any]]:
    """The `{x402Version, scheme, network}` of an answer to `GET /supported` that we can use."""
    kinds = _object(body).get("kinds")
    listed = [kind for kind in kinds if isinstance(kind, dict)] if isinstance(kinds, list) else []
    return [
        {"x402Version": 2, "scheme": "exact", "network": kind["network"]}
        for kind in listed
        if (kind.get("x402Version"), kind.get("scheme")) == (2, "exact") and isinstance(kind.get("network"), str)
    ]


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
