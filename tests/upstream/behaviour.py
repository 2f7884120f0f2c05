"""How the upstream answers its next calls, and what an answer of it is made of."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """What `POST /behave` takes. The defaults are an upstream without fault."""

    status: int = 200
    """another one: an error object of that status"""
    error_message: str = "you asked for it"
    retry_after: str | None = None
    delay_s: float = 0.0
    gate_after: int | None = None
    """after so many chunks (0: before the answer) it waits for `POST /open`"""
    drop: bool = False
    """closes the connection without an answer"""
    raw: str | None = None
    """answers with this text instead of a completion"""
    compressed: bool = False
    """the raw text, though it was asked not to"""
    text: str | None = None
    """instead of its own answer"""
    calls: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """these tools, each `{"name", "arguments"}`, are called instead of an answer in words"""
    finish_reason: str | None = None
    usage: Any = "true"
    """`true`, `none`, or an object that is sent as it is"""
    cut_after: int | None = None
    """after so many chunks of a stream (or half of a whole answer) the connection is cut"""
    error_after: int | None = None
    """after so many chunks of a stream comes an error object"""
    garbage_after: int | None = None
    """after so many chunks of a stream comes a line that is no JSON"""
    end_early: bool = False
    """the stream ends without a finish reason, tidily"""

    @classmethod
    def of(cls, given: dict[str, Any]) -> Behaviour:
        return dataclasses.replace(cls(), **given)


@dataclass(frozen=True)
class Reply:
    pieces: list[str]
    finish_reason: str
    usage: dict[str, Any] | None
    calls: list[dict[str, str]] = dataclasses.field(default_factory=list)


def reply_to(body: dict[str, Any], behaviour: Behaviour) -> Reply:
    """The whole answer: what was said last, given back, within max_tokens. One word is one token here."""
    text = behaviour.text if behaviour.text is not None else f"You said: {_text(body['messages'][-1])}"
    words = re.findall(r"\s*\S+", text) or [text]
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 4_096
    pieces = words[:limit]
    choices = body.get("n") or 1
    prompt_tokens = sum(3 + -(-len(_text(message).encode()) // 4) for message in body["messages"])
    true_usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(pieces) * choices,
        "total_tokens": prompt_tokens + len(pieces) * choices,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    usage = {"true": true_usage, "none": None}[behaviour.usage] if isinstance(behaviour.usage, str) else behaviour.usage
    reason = behaviour.finish_reason or ("length" if len(words) > limit else "stop")
    if behaviour.calls:
        return Reply([], "tool_calls", usage, behaviour.calls)
    return Reply(pieces, reason, usage)


def message_of(reply: Reply) -> dict[str, Any]:
    """The message of a whole answer."""
    if not reply.calls:
        return {"role": "assistant", "content": "".join(reply.pieces), "refusal": None}
    calls = [{"id": f"call_{place}", "type": "function", "function": call} for place, call in enumerate(reply.calls)]
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}


def deltas_of(reply: Reply) -> list[dict[str, Any]]:
    """The same message in the parts of a stream; arguments come in two."""
    if not reply.calls:
        deltas = [{"content": piece} for piece in reply.pieces]
        return [{"role": "assistant"} | deltas[0], *deltas[1:]]
    parts: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for place, call in enumerate(reply.calls):
        begun = {"name": call["name"], "arguments": ""}
        parts.append({"tool_calls": [{"index": place, "id": f"call_{place}", "type": "function", "function": begun}]})
        half = len(call["arguments"]) // 2
        arguments = [call["arguments"][:half], call["arguments"][half:]]
        parts += [{"tool_calls": [{"index": place, "function": {"arguments": part}}]} for part in arguments]
    return parts


def logprobs_of(texts: list[str], asked: Any) -> dict[str, Any] | None:
    """As OpenAI gives them where they are asked for, of what each piece says."""
    if not asked:
        return None
    said = [{"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []} for text in texts]
    return {"content": said, "refusal": None}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)
