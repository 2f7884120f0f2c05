"""What the upstream says on Anthropic's route: strict about what it takes, as the real one is."""

from __future__ import annotations

import itertools
import json
from typing import Any

from aiohttp import web

from tests.upstream.behaviour import Behaviour, reply_to

# platform.claude.com/docs, "Create a message", without what says who the end customer is.
FIELDS = {
    *("model", "messages", "max_tokens", "system", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
    *("tools", "tool_choice", "thinking", "output_config"),
}
_BLOCKS = {"text", "image", "tool_use", "tool_result"}
_KINDS = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error", 400: "invalid_request_error"}


def fault_in(request: web.Request, body: dict[str, Any], api_key: str | None) -> str | None:
    """What the real one would answer a 400 or 401 for."""
    if request.headers.get("anthropic-version") != "2023-06-01":
        return "anthropic-version: header is required"
    if api_key and request.headers.get("x-api-key") != api_key:
        return "invalid x-api-key"
    foreign = sorted(body.keys() - FIELDS) + sorted(name for name in request.headers if "p402" in name.lower())
    if foreign:
        return f"{foreign[0]}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    roles = [message["role"] for message in body.get("messages") or ()]
    if not roles or set(roles) - {"user", "assistant"}:
        return "messages: roles must be user or assistant"
    if any(one == other for one, other in itertools.pairwise(roles)):
        return "messages: roles must alternate"
    kinds = {block["type"] for message in body["messages"] for block in message["content"]}
    return f"messages: unknown blocks {kinds - _BLOCKS}" if kinds - _BLOCKS else None


def message(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """The whole answer: the last text given back, or the first tool called with it."""
    reply = reply_to(_as_openai(body), behaviour)
    content: list[dict[str, Any]] = [{"type": "text", "text": "".join(reply.pieces)}]
    reason = {"stop": "end_turn", "length": "max_tokens"}.get(reply.finish_reason, reply.finish_reason)
    if body.get("tools") and body["messages"][-1]["content"][-1]["type"] != "tool_result":
        name = body["tools"][0]["name"]
        content.append({"type": "tool_use", "id": "toolu_1", "name": name, "input": {"place": "Paris"}})
        reason = "tool_use"
    return _head(body) | {"content": content, "stop_reason": reason, "usage": _usage(reply.usage)}


def events(body: dict[str, Any], behaviour: Behaviour) -> list[dict[str, Any]]:
    """The same answer in events; `error_after` and `garbage_after` count them."""
    whole = message(body, behaviour)
    usage = dict(whole["usage"])
    started = _head(body) | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    made: list[dict[str, Any]] = [{"type": "message_start", "message": started}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            begun, name, texts = {"type": "text", "text": ""}, "text", block["text"].split(" ")
            texts = [text if place == 0 else f" {text}" for place, text in enumerate(texts)]
            deltas = [{"type": "text_delta", name: text} for text in texts]
        else:
            begun, text = block | {"input": {}}, json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", text[:5], text[5:])]
        made.append({"type": "content_block_start", "index": index, "content_block": begun})
        made += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        made.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    made.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}})
    made.append({"type": "message_stop"})
    broken: dict[str, Any] = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    if behaviour.error_after is not None:
        return [*made[: behaviour.error_after], broken]
    if behaviour.garbage_after is not None:
        return [*made[: behaviour.garbage_after], {"type": "content_block_delta"}]
    return made


def error(status: int, text: str) -> web.Response:
    kind = _KINDS.get(status, "api_error")
    return web.json_response({"type": "error", "error": {"type": kind, "message": text}}, status=status)


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}


def _usage(stated: Any) -> Any:
    if not isinstance(stated, dict) or "input_tokens" in stated:
        return stated
    return {
        "input_tokens": stated["prompt_tokens"],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": stated["completion_tokens"],
    }


def _as_openai(body: dict[str, Any]) -> dict[str, Any]:
    texts = [
        " ".join(str(block.get("text") or block.get("content") or "") for block in message["content"])
        for message in body["messages"]
    ]
    return {"messages": [{"content": text} for text in texts], "max_tokens": body["max_tokens"]}
