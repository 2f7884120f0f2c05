"""OpenAI's wire shapes, read with suspicion: answers, chunks, choices, usage counts. Pure."""

from __future__ import annotations

from typing import Any

from engine.errors import StreamCut, UpstreamError, UpstreamGarbled
from engine.providers.provider import Answer, Piece
from engine.providers.refusals import error_of
from engine.usage import Usage

_MAX_COUNT = 10**9


def answer_of(body: Any, upstream: str) -> Answer:
    """A whole completion. Raises UpstreamGarbled, and what an error object under status 200 means."""
    _refuse_error(body, upstream, begun=False)
    choices = choices_of(body, "message")
    if not choices or not all(choice.get("finish_reason") for choice in choices):
        raise UpstreamGarbled(f"{upstream} answered without a finished choice")
    return Answer(body, usage_of(body.get("usage")))


def piece_of(chunk: Any, upstream: str, begun: bool) -> Piece:
    """A part of a stream. Raises UpstreamGarbled; an error object is StreamCut once the answer has begun."""
    _refuse_error(chunk, upstream, begun)
    choices_of(chunk, "delta")
    return Piece(chunk, usage_of(chunk.get("usage")))


def _refuse_error(body: Any, upstream: str, begun: bool) -> None:
    error = body.get("error") if isinstance(body, dict) else None
    if not error:
        return
    if begun:
        raise StreamCut(f"{upstream} broke off its answer with an error")
    status = error.get("code") if isinstance(error, dict) else None
    if type(status) is int and 400 <= status < 600:  # OpenRouter's form
        raise error_of(status, body, {}, upstream)
    raise UpstreamError(f"{upstream} answered with an error")


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


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        return None
    return value
