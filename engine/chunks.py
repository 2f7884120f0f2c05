"""A stream's chunks folded into OpenAI's whole answer, and a whole answer laid out as a stream again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.completion import Chunk, Completion

_JOINED = frozenset({"content", "refusal", "reasoning", "reasoning_content", "thinking", "arguments"})
"""Texts that come in parts; every other text in a delta comes once."""


def folded(head: dict[str, Any], parts: Sequence[dict[str, Any]], usage: Any) -> dict[str, Any]:
    """The `chat.completion` that the choices of a stream's chunks, in order, are the parts of.

    `head` is any of the chunks, for what all of them say; `usage` is what the upstream stated.
    """
    choices: dict[int, dict[str, Any]] = {}
    for part in parts:
        index = part.get("index", 0)
        choice = choices.get(index)
        if choice is None:
            message = {"role": "assistant", "content": None}
            choice = choices[index] = {"index": index, "message": message, "finish_reason": None}
        _add(choice["message"], part["delta"])
        if part.get("logprobs"):
            _add(choice.setdefault("logprobs", {}), part["logprobs"])
        if part.get("finish_reason"):
            choice["finish_reason"] = part["finish_reason"]
    for choice in choices.values():
        _join(choice)
    shared = {name: value for name, value in head.items() if name not in ("choices", "usage", "object")}
    in_order = [choices[index] for index in sorted(choices)]
    return shared | {"object": "chat.completion", "choices": in_order, "usage": usage}


def as_chunks(completion: Completion) -> list[Chunk]:
    """A whole answer as a stream of it: its messages, then their finish with the completion."""
    head = {name: value for name, value in completion.body.items() if name not in ("choices", "usage", "object")}
    head |= {"object": "chat.completion.chunk", "id": completion.id}
    said = [
        {"index": choice.get("index", 0), "delta": _delta(choice["message"]), "finish_reason": None}
        | ({"logprobs": choice["logprobs"]} if choice.get("logprobs") else {})
        for choice in completion.choices
    ]
    ends = [
        {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice["finish_reason"]}
        for choice in completion.choices
    ]
    provider = completion.provider
    return [Chunk(head | {"choices": said}, provider), Chunk(head | {"choices": ends}, provider, completion)]


def _add(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Texts are gathered in lists, which `_join` joins: joining them one by one would take the square of the time."""
    for name, value in part.items():
        there = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif name in _JOINED and isinstance(value, str):
            if isinstance(there, _Texts):
                there.append(value)
            else:
                whole[name] = _Texts([value])
        elif name == "tool_calls" and isinstance(value, list):
            _add_calls(whole, value)
        elif isinstance(there, list) and isinstance(value, list):
            whole[name] = there + value
        elif isinstance(there, dict) and not isinstance(there, _Calls) and isinstance(value, dict):
            _add(there, value)
        elif isinstance(value, dict):
            whole[name] = {}
            _add(whole[name], value)
        elif value != "" or there is None:
            whole[name] = value


def _add_calls(message: dict[str, Any], parts: list[Any]) -> None:
    """By the index of each call, which OpenAI's parts carry and its whole messages do not."""
    calls = message.get("tool_calls")
    if not isinstance(calls, _Calls):
        calls = message["tool_calls"] = _Calls()
    for place, part in enumerate(parts):
        if isinstance(part, dict):
            index = part.get("index")
            _add(calls.setdefault(index if type(index) is int else place, {}), part)


class _Texts(list[str]):
    """Parts of a text."""


class _Calls(dict[int, dict[str, Any]]):
    """Tool calls by their index."""


def _join(whole: dict[str, Any]) -> None:
    for name, value in whole.items():
        if isinstance(value, _Texts):
            whole[name] = "".join(value)
        elif isinstance(value, _Calls):
            whole[name] = [value[index] for index in sorted(value)]
            for call in whole[name]:
                call.pop("index", None)
                _join(call)
        elif isinstance(value, dict):
            _join(value)


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return {name: value for name, value in message.items() if name != "tool_calls"}
    return message | {"tool_calls": [{"index": index} | call for index, call in enumerate(calls)]}
