"""Usage as upstreams count it, each in its own way, read with suspicion into the one canonical record. Pure."""

from __future__ import annotations

from typing import Any

from engine.usage import Usage

_MAX_COUNT = 10**9


def usage_of(stated: Any) -> Usage | None:
    """Of a `usage` object in OpenAI's form, or None where it is absent or contradicts itself.

    Cached and written tokens are parts of `prompt_tokens`. DeepSeek has its cache hits in a field of its own. Reasoning
    is a part of `completion_tokens`; at xAI and Google it stands beside them, and `total_tokens` shows it.
    """
    if not isinstance(stated, dict):
        return None
    prompt_details = stated.get("prompt_tokens_details") or {}
    completion_details = stated.get("completion_tokens_details") or {}
    if not isinstance(prompt_details, dict) or not isinstance(completion_details, dict):
        return None
    prompt = _count(stated.get("prompt_tokens"))
    completion = _count(stated.get("completion_tokens"))
    cache_read = _count(prompt_details.get("cached_tokens") or stated.get("prompt_cache_hit_tokens") or 0)
    cache_write = _count(prompt_details.get("cache_write_tokens") or 0)
    reasoning = _count(completion_details.get("reasoning_tokens") or 0)
    if prompt is None or completion is None or cache_read is None or cache_write is None or reasoning is None:
        return None
    beside = (_count(stated.get("total_tokens")) or 0) - prompt - completion
    if beside > 0 and reasoning in (0, beside):
        reasoning, completion = beside, completion + beside
    if cache_read + cache_write > prompt or reasoning > completion:
        return None
    return Usage(prompt - cache_read - cache_write, cache_read, cache_write, completion - reasoning, reasoning)


def anthropic_usage_of(stated: Any) -> Usage | None:
    """Of a `usage` object of Anthropic's Messages API, whose four counts are disjoint. Thinking is output there."""
    if not isinstance(stated, dict):
        return None
    fresh, output = _count(stated.get("input_tokens")), _count(stated.get("output_tokens"))
    cache_read = _count(stated.get("cache_read_input_tokens") or 0)
    cache_write = _count(stated.get("cache_creation_input_tokens") or 0)
    if fresh is None or cache_read is None or cache_write is None or output is None:
        return None
    return Usage(fresh, cache_read, cache_write, output)


def as_openai_states_it(usage: Usage) -> dict[str, Any]:
    """The `usage` object of a completion."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value
