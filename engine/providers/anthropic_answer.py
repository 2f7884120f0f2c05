"""What Anthropic's Messages API answers, whole or in events, as OpenAI's completion and chunks. Pure.

Source: platform.claude.com/docs, "Messages", "Streaming messages", "Errors", read 2026-11-24.
"""

from __future__ import annotations

from typing import Any

import orjson

from engine.errors import StreamCut, UpstreamGarbled
from engine.providers.provider import Answer, Piece
from engine.providers.refusals import error_of
from engine.providers.usage_shapes import anthropic_usage_of, as_openai_states_it

_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""Of errors that come as an event of a stream, under status 200."""


def answer_of(body: Any, created_s: int) -> Answer:
    """A whole message. Raises UpstreamGarbled."""
    if not isinstance(body, dict) or not isinstance(body.get("content"), list):
        raise UpstreamGarbled("anthropic's answer is not a message")
    if not isinstance(body.get("stop_reason"), str) or not body["stop_reason"]:
        raise UpstreamGarbled("anthropic's answer is not a finished message")
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    said: list[str] = []
    for block in body["content"]:
        match block:
            case {"type": "text", "text": str(text)}:
                said.append(text)
            case {"type": "thinking", "thinking": str(thought)}:
                message["reasoning_content"] = message.get("reasoning_content", "") + thought
            case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": arguments}:
                call = {"name": name, "arguments": orjson.dumps(arguments).decode()}
                message.setdefault("tool_calls", []).append({"id": call_id, "type": "function", "function": call})
            case {"type": "redacted_thinking"}:
                continue
            case _:
                raise UpstreamGarbled("anthropic's answer has a block of an unknown kind")
    message["content"] = "".join(said) if said or "tool_calls" not in message else None
    usage = anthropic_usage_of(body.get("usage"))
    choice = {"index": 0, "message": message, "logprobs": None, **_finish(body["stop_reason"])}
    completion = {
        "id": body.get("id"),
        "object": "chat.completion",
        "created": created_s,
        "model": body.get("model"),
        "choices": [choice],
    }
    return Answer(completion | ({"usage": as_openai_states_it(usage)} if usage else {}), usage)


class Events:
    """Reads the events of one stream in their order; `pieces` are its chunks."""

    def __init__(self, created_s: int) -> None:
        self.is_finished = False
        self._head: dict[str, Any] = {"object": "chat.completion.chunk", "created": created_s}
        self._stated: dict[str, Any] = {}
        self._begun = False
        self._calls: dict[int, int] = {}

    def pieces(self, event: Any) -> list[Piece]:
        """Raises UpstreamGarbled, and for an error event what it means: StreamCut once the answer has begun."""
        try:
            return self._read(event)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UpstreamGarbled("anthropic's stream has an event of the wrong form") from None

    def _read(self, event: Any) -> list[Piece]:
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._head |= {"id": message["id"], "model": message["model"]}
                self._stated = dict(message.get("usage") or {})
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                block, index = event["content_block"], len(self._calls)
                self._calls[event["index"]] = index
                function = {"name": _text(block["name"]), "arguments": ""}
                call = {"index": index, "id": _text(block["id"]), "type": "function", "function": function}
                return [self._piece({"tool_calls": [call]})]
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "message_delta":
                self._stated |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
                reason = event["delta"].get("stop_reason")
                if reason:
                    return [self._last(reason)]
            case "error":
                self._fail(event)
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[Piece]:
        match delta["type"]:
            case "text_delta":
                return [self._piece({"content": _text(delta["text"])})]
            case "thinking_delta":
                return [self._piece({"reasoning_content": _text(delta["thinking"])})]
            case "input_json_delta" if index in self._calls:
                function = {"arguments": _text(delta["partial_json"])}
                return [self._piece({"tool_calls": [{"index": self._calls[index], "function": function}]})]
        return []

    def _piece(self, delta: dict[str, Any]) -> Piece:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return Piece({**self._head, "choices": [choice]})

    def _last(self, reason: str) -> Piece:
        self.is_finished = True
        usage = anthropic_usage_of(self._stated)
        choice: dict[str, Any] = {"index": 0, "delta": {}, "logprobs": None, **_finish(reason)}
        chunk = {**self._head, "choices": [choice]}
        return Piece(chunk | ({"usage": as_openai_states_it(usage)} if usage else {}), usage)

    def _fail(self, event: dict[str, Any]) -> None:
        if self._begun:
            raise StreamCut("anthropic broke off its answer with an error")
        raise error_of(_STATUSES.get(event["error"]["type"], 500), event, {}, "anthropic")


def _text(value: Any) -> str:
    """Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _finish(reason: str) -> dict[str, str]:
    return {"finish_reason": _FINISHES.get(reason, "stop"), "native_finish_reason": reason}
