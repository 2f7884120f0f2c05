"""How the OpenAI face shows a completion: OpenAI's own object with `p402_metadata`, whole or in chunks. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from engine import Chunk, Completion, Usage
from ledger.accounts import NANOS_PER_CREDIT
from ledger.errors import AgentNodeError
from ledger.money import usd_exact, usd_fields

Header = tuple[bytes, bytes]


def whole(completion: Completion, tenant_id: str, request_id: str) -> bytes:
    """The body of an answer that is not streamed."""
    body = completion.body | {
        "id": completion.id,
        "object": "chat.completion",
        "p402_metadata": metadata_of(completion, tenant_id, request_id),
    }
    if body.get("usage") is None:
        body["usage"] = openai_usage(completion.usage)
    return orjson.dumps(body)


def chunk_bytes(chunk: Chunk, with_usage: bool, tenant_id: str = "", request_id: str = "") -> bytes:
    """A chunk as a frame of the stream. The last one carries the metadata, unless the usage chunk will."""
    body = chunk.body
    if with_usage:
        body["usage"] = None
    else:
        body.pop("usage", None)
        if chunk.completion is not None:
            body["p402_metadata"] = metadata_of(chunk.completion, tenant_id, request_id)
    return b"data: " + orjson.dumps(body) + b"\n\n"


def usage_chunk(last: Chunk, tenant_id: str, request_id: str) -> bytes:
    """The frame that a caller has asked for with `stream_options.include_usage`."""
    completion = last.completion
    assert completion is not None
    body = last.body | {
        "choices": [],
        "usage": completion.body.get("usage") or openai_usage(completion.usage),
        "p402_metadata": metadata_of(completion, tenant_id, request_id),
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


def error_frame(error: AgentNodeError) -> bytes:
    """The last frame of a stream that broke off: the error, and what was charged all the same."""
    return b"data: " + orjson.dumps({"error": error.as_dict()}) + b"\n\n"


def headers_of(completion: Completion, request_id: str) -> list[Header]:
    return [
        (b"x-p402-request-id", (completion.request_id or request_id).encode()),
        (b"x-p402-provider", completion.provider.encode()),
        (b"x-p402-cost-usd", usd_exact(completion.cost_usd_nanos).encode()),
        (b"x-p402-latency-ms", b"%d" % completion.latency_ms),
    ]


def metadata_of(completion: Completion, tenant_id: str, request_id: str) -> dict[str, Any]:
    """`p402_metadata` (docs/engine.md)."""
    paid_credits = [paid for paid in completion.shares if paid.budget_id.startswith(("credits:", "test-credits:"))]
    metadata = {
        "request_id": completion.request_id or request_id,
        "tenant_id": tenant_id,
        "provider": completion.provider,
        "model": completion.model,
        **usd_fields("cost_usd", completion.cost_usd_nanos),
        "latency_ms": completion.latency_ms,
        "provider_latency_ms": completion.provider_latency_ms,
        "cached": completion.cached,
        "routing_mode": completion.mode,
        "human_verified": None,
        "human_usage_remaining": None,
        "reputation_score": None,
        "credits_spent": _credits(sum(paid.usd_nanos for paid in paid_credits)) if paid_credits else None,
        "credits_balance": _credits(sum(paid.room_usd_nanos for paid in paid_credits)) if paid_credits else None,
        "attempts": [attempt.as_dict() for attempt in completion.attempts],
    }
    if completion.estimated:
        metadata["estimated"] = True
    if completion.max_tokens is not None:
        metadata["max_tokens"] = completion.max_tokens
    if completion.bought_call_id is not None:
        metadata["bought_call_id"] = completion.bought_call_id
    if completion.cached:
        metadata |= usd_fields("saved_usd", completion.saved_usd_nanos)
    return metadata


def openai_usage(usage: Usage) -> dict[str, Any]:
    """The canonical record in OpenAI's form, where an upstream gave no count."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _credits(nanos: int) -> float:
    return nanos / NANOS_PER_CREDIT
