"""What the engine hands out and takes in beside the request: quotes, completions, chunks, who pays and for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.routing import Candidate
from engine.usage import Usage


@dataclass(frozen=True)
class Account:
    """Who pays: every one of these budgets must have room, or nothing is sent."""

    tenant_id: str
    budgets: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """What the call is for; goes into its economic event."""

    request_id: str
    task_id: str | None = None
    revenue_usd_nanos: int = 0
    receipt_id: str | None = None
    payment_id: str | None = None
    attribution: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quote:
    """What a request can cost at most, and with whom. `candidates` are all that could serve it, best first."""

    bound_usd_nanos: int
    model: str
    provider: str
    price_version: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Completion:
    """A finished call. `id` is its economic event's id."""

    id: str
    provider: str
    model: str
    text: str
    """of the first choice"""
    finish_reason: str
    usage: Usage
    cost_usd_nanos: int
    """charged to the account"""
    latency_ms: int
    """from the request's arrival to its capture"""
    provider_latency_ms: int
    choices: list[dict[str, Any]]
    """OpenAI's, as they came; on a stream only index, text and finish reason of the first"""
    estimated: bool = False
    """the upstream gave no count that can be true"""
    overrun_usd_nanos: int = 0
    """billed beyond what the budgets had room for: the node bears it"""


@dataclass(frozen=True)
class Chunk:
    """A part of a streamed completion. The last one, and no other, has `finish_reason` and `completion`."""

    text: str
    choices: list[dict[str, Any]]
    """OpenAI's, with their deltas, as they came"""
    finish_reason: str | None = None
    completion: Completion | None = None
