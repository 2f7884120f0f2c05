"""A chat completion as Anthropic's Messages API takes it. Pure.

Source: platform.claude.com/docs, "Messages", "Tool use", "Structured outputs", read 2026-11-24.
"""

from __future__ import annotations

from typing import Any

import orjson

from engine.catalog import Model
from engine.request import CompletionRequest, text_of
from ledger.errors import InvalidInput

_CHOICES = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
_SAME = ("temperature", "top_p")


def messages_body(model: Model, request: CompletionRequest, max_tokens: int) -> dict[str, Any]:
    """The body of `POST /v1/messages`. Raises InvalidInput for what has no counterpart there."""
    options = request.forwarded
    body: dict[str, Any] = {"model": model.name, "max_tokens": max_tokens, "messages": _messages(request)}
    system = [block for message in request.messages if _is_system(message) for block in _text_blocks(message)]
    if system:
        body["system"] = system
    body |= {name: options[name] for name in _SAME if name in options}
    temperature = options.get("temperature")
    if isinstance(temperature, int | float) and temperature > 1:
        raise InvalidInput("temperature", "must be at most 1 for Anthropic's models")
    if "stop" in options:
        body["stop_sequences"] = [options["stop"]] if isinstance(options["stop"], str) else options["stop"]
    if options.get("tools"):
        body["tools"] = [_tool(index, tool) for index, tool in enumerate(options["tools"])]
        choice = _tool_choice(options)
        if choice is not None:
            body["tool_choice"] = choice
    if "response_format" in options:
        _answer_in(options["response_format"], body)
    return body


def _is_system(message: dict[str, Any]) -> bool:
    return message["role"] in ("system", "developer")


def _messages(request: CompletionRequest) -> list[dict[str, Any]]:
    """Turns of user and assistant: what the same side says in a row is one, tool results are the user's."""
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(request.messages):
        if _is_system(message):
            continue
        role, blocks = _turn(f"messages[{index}]", message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise InvalidInput("messages", "must hold more than a system message for Anthropic's models")
    return turns


def _turn(where: str, message: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    match message["role"]:
        case "user":
            return "user", _blocks(message)
        case "assistant":
            return "assistant", _text_blocks(message) + _tool_uses(where, message)
        case "tool":
            called = message.get("tool_call_id")
            if not isinstance(called, str):
                raise InvalidInput(f"{where}.tool_call_id", "must be the id of a tool call")
            return "user", [{"type": "tool_result", "tool_use_id": called, "content": text_of(message)}]
    raise InvalidInput(f"{where}.role", "must not be function for Anthropic's models; use tool")


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(message["content"], str):
        return _text_blocks(message)
    return [_image(part) if part["type"] == "image_url" else _text(part) for part in message["content"]]


def _text_blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_text(part) for part in content or () if part["type"] != "image_url"]


def _text(part: dict[str, Any]) -> dict[str, Any]:
    block = {"type": "text", "text": part["text"] if part["type"] == "text" else str(part.get("refusal"))}
    return block | ({"cache_control": part["cache_control"]} if "cache_control" in part else {})


def _image(part: dict[str, Any]) -> dict[str, Any]:
    url: str = part["image_url"]["url"]
    source: dict[str, Any] = {"type": "url", "url": url}
    if url.startswith("data:"):
        kind, _, data = url.removeprefix("data:").partition(";base64,")
        source = {"type": "base64", "media_type": kind, "data": data}
    return {"type": "image", "source": source}


def _tool_uses(where: str, message: dict[str, Any]) -> list[dict[str, Any]]:
    uses, calls = [], message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidInput(f"{where}.tool_calls", "must be a list")
    for index, call in enumerate(calls):
        here = f"{where}.tool_calls[{index}]"
        try:
            function, call_id = call["function"], call["id"]
            name, arguments = function["name"], orjson.loads(function.get("arguments") or "{}")
        except (KeyError, TypeError, orjson.JSONDecodeError):
            raise InvalidInput(here, "must have an id and a function with a name and arguments in JSON") from None
        uses.append({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
    return uses


def _tool(index: int, tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidInput(f"tools[{index}]", "must be a function with a name")
    made = {
        "name": function["name"],
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    return made | ({"description": function["description"]} if function.get("description") else {})


def _tool_choice(options: dict[str, Any]) -> dict[str, Any] | None:
    stated = options.get("tool_choice", "auto")
    choice: dict[str, Any]
    if isinstance(stated, str) and stated in _CHOICES:
        choice = {**_CHOICES[stated]}
    elif isinstance(stated, dict) and isinstance(stated.get("function"), dict):
        choice = {"type": "tool", "name": stated["function"].get("name")}
    else:
        raise InvalidInput("tool_choice", "must be auto, none, required, or name a function")
    if options.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice if "tool_choice" in options or len(choice) > 1 else None


def _answer_in(response_format: Any, body: dict[str, Any]) -> None:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return
    stated = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(stated, dict) or not isinstance(stated.get("schema"), dict):
        raise InvalidInput("response_format", "must be text or json_schema with its schema for Anthropic's models")
    body["output_config"] = {"format": {"type": "json_schema", "schema": stated["schema"]}}
