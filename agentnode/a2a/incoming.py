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
from ledger.accounts import ANONYMOUS, Caller

CONFIGURATION = "p402.configuration"
"""Metadata of a message that came in the P402 dialect: what it wants of the engine."""
_LEAST_UNGUESSABLE = 22
"""Characters of an id: of base64 they carry 128 bits; a UUID has 36."""


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

    def open_key(self, caller: Caller) -> str | None:
        """Under which an equal message of the caller's is the same task, as long as that is open.

        None where nobody knows who asks and the message's id could be guessed: the task's id is its secret, and an
        equal message of a stranger's would be told it.
        """
        if "messageId" not in self.asked.get("message", {}):  # the P402 dialect needs none
            return None
        nobody = caller.tenant_id == ANONYMOUS.tenant_id and caller.payer is None
        if nobody and len(self.message["messageId"]) < _LEAST_UNGUESSABLE:
            return None
        identity = f"{caller.tenant_id}\0{caller.payer or ''}\0{self.request_hash}"
        return hashlib.sha256(identity.encode()).hexdigest()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
