"""A client's message, as the runtime takes it: the same for every protocol version it came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentnode.payments.asking.task_metadata import Submission
from agentnode.push import PushConfig


@dataclass(frozen=True)
class Incoming:
    message: dict[str, Any]
    """A2A 1.0 JSON as it is kept: without a payment's payload"""
    text: str
    metadata: tuple[Mapping[str, Any], ...]
    """The message's, then the request's"""
    asked: Mapping[str, Any]
    """The request's parameters as they were sent"""
    dialect: str
    x402_version: int
    task_id: str | None = None
    context_id: str | None = None
    submission: Submission | None = None
    idempotency_key: str | None = None
    push: PushConfig | None = None
    """Where to tell of the task"""

    @cached_property
    def input_hash(self) -> str:
        """Of what the work is about: a quote is bound to it."""
        return _hash(self.message["parts"])

    @cached_property
    def request_hash(self) -> str:
        """Of everything that the client asked, its message id too."""
        return _hash(self.asked)

    @cached_property
    def body_hash(self) -> str:
        """Of the same without the message id, which a retry under an Idempotency-Key may make anew."""
        message = {
            key: value for key, value in self.asked.get("message", {}).items() if key not in ("messageId", "message_id")
        }
        return _hash({**self.asked, "message": message})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
