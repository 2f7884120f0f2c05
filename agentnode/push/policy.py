"""When a push is tried again, when it is given up, and what its request carries. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from agentnode.push.configs import PushConfig
from ledger.work import Delivery

SIGNATURE_TYP = "a2a-push+jwt"
_WAITS_S = (2.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0)
"""After the first attempt, the second, ...: eight attempts over some eight hours; a task's content is kept for 24."""
_GONE = 410

Sign = Callable[[Mapping[str, Any], str], str]
"""A compact JWS over claims with a `typ` (trust.keys.NodeKeys.sign)."""


def wait_s(attempts: int) -> float | None:
    """How long to wait after that many failed attempts; None: it is dead."""
    return _WAITS_S[attempts - 1] if attempts <= len(_WAITS_S) else None


def arrived(status: int) -> bool:
    return 200 <= status < 300


def unwanted(status: int) -> bool:
    """The receiver says that it will never take this."""
    return status == _GONE


def headers(config: PushConfig, delivery: Delivery, body: bytes, at_s: int, issuer: str, sign: Sign) -> dict[str, str]:
    """The receiver checks the signature with the node's `/.well-known/jwks.json`: who says it, to whom, what, when."""
    made = {
        "Content-Type": "application/json",
        "X-A2A-Delivery-Id": delivery.id,
        "X-A2A-Delivery-Attempt": str(delivery.attempts),
    }
    if config.dialect == "1.0":
        made["A2A-Version"] = "1.0"
    claims = {
        "iss": issuer,
        "aud": config.url,
        "iat": at_s,
        "jti": delivery.id,
        "task_id": config.task_id,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    made["X-A2A-Signature"] = sign(claims, SIGNATURE_TYP)
    if config.token:
        made["X-A2A-Notification-Token"] = config.token
    if config.scheme and config.credentials:
        made["Authorization"] = f"{config.scheme} {config.credentials}"
    return made
