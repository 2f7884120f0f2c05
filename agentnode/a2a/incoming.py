"""A client's message, as the runtime takes it: the same for every protocol version it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentnode.payments.metadata import Submission


@dataclass(frozen=True)
class Incoming:
    message: dict[str, Any]
    """A2A 1.0 JSON as it is kept: without a payment's payload"""
    text: str
    metadata: tuple[Mapping[str, Any], ...]
    """The message's, then the request's"""
    dialect: str
    x402_version: int
    input_hash: str
    """of what the work is about: a quote is bound to it"""
    request_hash: str
    """of everything the client asked, its message id too"""
    body_hash: str
    """the same without the message id, which a retry under an Idempotency-Key may make anew"""
    task_id: str | None = None
    context_id: str | None = None
    submission: Submission | None = None
    idempotency_key: str | None = None
