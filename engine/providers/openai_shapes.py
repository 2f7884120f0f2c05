"""OpenAI's wire shapes, read with suspicion: usage counts, choices, errors. Pure."""

from __future__ import annotations

from typing import Any

from engine.errors import PromptRejected, UpstreamBusy, UpstreamError, UpstreamGarbled, UpstreamRefused
from engine.usage import Usage

_MAX_COUNT = 10**9
_REJECTIONS = frozenset({400, 413, 422})


def usage_of(stated: Any) -> Usage | None:
    """The canonical usage of an OpenAI `usage` object, or None where it is absent or contradicts itself."""
    if not isinstance(stated, dict):
        return None
    prompt_details = stated.get("prompt_tokens_details") or {}
    completion_details = stated.get("completion_tokens_details") or {}
    if not isinstance(prompt_details, dict) or not isinstance(completion_details, dict):
        return None
    prompt = _count(stated.get("prompt_tokens"))
    completion = _count(stated.get("completion_tokens"))
    cache_read = _count(prompt_details.get("cached_tokens") or 0)
    cache_write = _count(prompt_details.get("cache_write_tokens") or 0)
    reasoning = _count(completion_details.get("reasoning_tokens") or 0)
    if prompt is None or completion is None or cache_read is None or cache_write is None or reasoning is None:
        return None
    if cache_read + cache_write > prompt or reasoning > completion:
        return None
    return Usage(prompt - cache_read - cache_write, cache_read, cache_write, completion - reasoning, reasoning)


def choices_of(body: Any, text_in: str) -> list[dict[str, Any]]:
    """The `choices` of a completion (`text_in` is `message`) or a chunk (`delta`). Raises UpstreamGarbled."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        raise UpstreamGarbled("the upstream's answer has no choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get(text_in), dict):
            raise UpstreamGarbled(f"a choice in the upstream's answer has no {text_in}")
        if not isinstance(choice[text_in].get("content"), str | None):
            raise UpstreamGarbled("a choice in the upstream's answer has content that is not text")
        if not isinstance(choice.get("finish_reason"), str | None) or type(choice.get("index", 0)) is not int:
            raise UpstreamGarbled("a choice in the upstream's answer has no proper index or finish_reason")
    return choices


def error_of(status: int, body: Any, retry_after: str | None, upstream: str) -> UpstreamError:
    """The error for an answer that is not 200."""
    if status in _REJECTIONS:
        return PromptRejected(f"{upstream} rejected the request ({status}){_said(body)}")
    if status == 429:
        return UpstreamBusy(f"{upstream} is at its rate limit (429)", retry_after_ms=_wait_ms(retry_after))
    if 300 <= status < 500:
        return UpstreamRefused(f"{upstream} refused the call ({status}); the operator must check its key and model")
    return UpstreamError(f"{upstream} failed ({status})")


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value


def _said(body: Any) -> str:
    # Only what concerns the request is passed on: other messages name the operator's key or organisation. It can
    # quote the prompt, so it reaches the caller, whose it is, and no log or event.
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message[:500]}" if isinstance(message, str) and message else ""


def _wait_ms(retry_after: str | None) -> int | None:
    try:
        return max(0, int(float(retry_after) * 1000)) if retry_after else None
    except (ValueError, OverflowError):
        return None  # the date form: the caller's own back-off serves as well
