"""What a request asks, as the cache sees it (pure): whether it may be cached, its hash, its class, its last words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from engine.request import CompletionRequest, text_of

MOST_CHARACTERS = 1_000
"""A longer last message is answered from the cache only where it is the very same."""


@dataclass(frozen=True)
class Asked:
    """One request that may be cached. `exact` and `family` are SHA-256 digests, which the cache keys before it stores.

    `family` is what two requests must share before their last words are compared: everything but those words.
    `words` is the user's last message, or None where only the very same request may be answered.
    """

    tenant_id: str
    key_id: str
    user: str | None
    exact: bytes
    family: bytes
    words: str | None


def asked_of(
    request: CompletionRequest,
    *,
    tenant_id: str,
    key_id: str | None,
    user: str | None,
    model_class: str,
    privacy_mode: str,
    by_words: bool = True,
) -> Asked | None:
    """None for what is never cached: callers without a key, `n > 1`, and conversations with tool calls in them.

    `model_class` says which models could have answered: the pinned id, or a text that is equal for equal routing
    wishes (mode, tiers, exclusions, allow-lists). `user` is the body's own field, for the partition by user.
    Without `by_words` only the very same request is answered, and nobody is shown the question.
    """
    if key_id is None or request.choices > 1 or any(map(_of_a_tool, request.messages)):
        return None
    frame = {
        "model_class": model_class,
        "privacy_mode": privacy_mode,
        "max_tokens": request.max_tokens,
        "options": request.forwarded,
    }
    *earlier, last = request.messages
    words = None
    if by_words and last["role"] == "user" and not request.images:
        words = text_of(last).strip()
    around = {name: value for name, value in last.items() if name != "content"}
    return Asked(
        tenant_id=tenant_id,
        key_id=key_id,
        user=user,
        exact=_digest([frame, request.messages]),
        family=_digest([frame, earlier, around]),
        words=words if words and len(words) <= MOST_CHARACTERS else None,
    )


def may_be_kept(body: dict[str, Any]) -> bool:
    """Whether an answer is whole and worth giving again: one choice that stopped by itself, in words, no tool call."""
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or body.get("error"):
        return False
    choice = choices[0]
    message = choice.get("message")
    if choice.get("finish_reason") != "stop" or not isinstance(message, dict):
        return False
    if message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
        return False
    return isinstance(message.get("content"), str) and bool(message["content"].strip())


def _of_a_tool(message: dict[str, Any]) -> bool:
    return (
        message["role"] in ("tool", "function") or bool(message.get("tool_calls")) or bool(message.get("function_call"))
    )


def _digest(value: Any) -> bytes:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()
