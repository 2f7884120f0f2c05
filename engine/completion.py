"""What the engine hands out and takes in beside the request: quotes, completions, chunks, and what a call is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.routing import Candidate
from engine.usage import Usage
from ledger.money import usd_fields
from ledger.spend import Paid


@dataclass(frozen=True)
class Call:
    """What the call is for; goes into its economic event."""

    request_id: str
    task_id: str | None = None
    revenue_usd_nanos: int = 0
    receipt_id: str | None = None
    payment_id: str | None = None
    attribution: dict[str, Any] = field(default_factory=dict)
    user: str | None = None
    """the caller's own end user, for a cache that is parted by users"""
    privacy_mode: str = "metadata_only"
    retry_key: str | None = None
    """Of equal requests the same: what is answered is kept, for the client to ask for it again,"""
    keep_s: int = 0
    """for so long."""


@dataclass(frozen=True)
class Quote:
    """What a request can cost at most, and with whom. `candidates` are all that could serve it, best first."""

    bound_usd_nanos: int
    model: str
    provider: str
    price_version: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upstream call of a request, and what became of it."""

    provider: str
    model: str
    outcome: str
    """`served`, or the code of the error"""
    event_id: str | None
    """None where nothing reached the upstream"""
    charged_usd_nanos: int = 0
    """for an attempt that failed: what was served costs what the completion says"""

    def as_dict(self) -> dict[str, Any]:
        said = {"provider": self.provider, "model": self.model, "outcome": self.outcome, "event_id": self.event_id}
        return said | usd_fields("charged_usd", self.charged_usd_nanos) if self.charged_usd_nanos else said


@dataclass(frozen=True)
class Completion:
    """A finished call. `id` is its economic event's id."""

    id: str
    provider: str
    model: str
    body: dict[str, Any]
    """OpenAI's `chat.completion`, as it came; of a stream its chunks folded into one"""
    usage: Usage
    cost_usd_nanos: int
    """charged to the account"""
    latency_ms: int
    """from the request's arrival to its capture"""
    provider_latency_ms: int
    mode: str
    attempts: tuple[Attempt, ...] = ()
    estimated: bool = False
    """the upstream gave no count that can be true"""
    overrun_usd_nanos: int = 0
    """billed beyond what the budgets had room for: the node bears it"""
    shares: tuple[Paid, ...] = ()
    """who paid, where that is not simply the account"""
    max_tokens: int | None = None
    """the limit that the balance or the model set, where the caller set none"""
    cached: bool = False
    saved_usd_nanos: int = 0
    """what a cached answer cost when it was made"""
    request_id: str | None = None
    """of the request that was answered first, where this one only asks for its answer again"""
    bought_call_id: str | None = None
    """of the hire, where another agent did the work for money"""

    @property
    def choices(self) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = self.body["choices"]
        return choices

    @property
    def text(self) -> str:
        """Of the first choice."""
        return self.choices[0]["message"].get("content") or ""

    @property
    def finish_reason(self) -> str:
        return str(self.choices[0]["finish_reason"])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a streamed completion. The last one, and no other, has `completion`."""

    body: dict[str, Any]
    """OpenAI's `chat.completion.chunk`, as it came but for its id"""
    provider: str
    completion: Completion | None = None

    @property
    def text(self) -> str:
        """Of the first choice."""
        return "".join(
            choice["delta"].get("content") or "" for choice in self.body["choices"] if choice.get("index", 0) == 0
        )


def written_bytes(part: dict[str, Any]) -> int:
    """Of everything in a message or delta that a model wrote: text, refusals, reasoning, tool calls."""
    size = 0
    for name, value in part.items():
        if value and name != "role":
            size += len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))
    return size
