"""What is asked of the engine: a chat completion in OpenAI's fields, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from ledger.errors import InvalidInput

FORWARDED = frozenset(
    {
        *("temperature", "top_p", "stop", "seed", "n", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls"),
        *("functions", "function_call", "reasoning_effort", "verbosity"),
    }
)
"""The options that go to an upstream; whatever is not here stays with us."""

NOT_OFFERED = frozenset({"audio", "modalities", "prediction", "web_search_options"})
"""OpenAI's own fields whose price cannot be bounded before the call."""

SET_ASIDE = frozenset(
    {
        *("p402", "metadata", "user", "safety_identifier", "prompt_cache_key"),
        *("store", "stream", "stream_options", "service_tier"),
    }
)
"""What a body may carry and no upstream gets: our own fields, who the customer is, and how the answer is delivered."""

_NOT_OPTIONS = SET_ASIDE | {"messages", "model", "max_tokens", "max_completion_tokens"}

MAX_CHOICES = 16
MAX_TOKENS = 10_000_000
_IN_PROMPT = ("tools", "functions", "response_format")
_CHAT = frozenset({"chat"})
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = ("text", "image_url", "refusal")
_TOOLS = ("function", "custom")


@dataclass(frozen=True)
class CompletionRequest:
    """One chat completion.

    `messages` and `options` are in OpenAI's form; `model` is a catalog id, an upstream's own name for a model, or
    absent or `auto` for the engine's choice; without `max_tokens` the engine sets a limit of its own.
    Raises InvalidInput naming the field.
    """

    messages: list[dict[str, Any]]
    model: str | None = None
    max_tokens: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    # Each is asked for by every call, so they are found once, when the request is made.
    wanted: str | None = field(init=False, repr=False, compare=False)
    """The model that was asked for by name; None leaves it to the engine."""
    choices: int = field(init=False, repr=False, compare=False)
    """How many answers are asked for (`n`)."""
    forwarded: dict[str, Any] = field(init=False, repr=False, compare=False)
    """The options that are set."""
    images: list[str] = field(init=False, repr=False, compare=False)
    """The URLs of the images in the messages, `data:` ones too."""
    texts: list[str] = field(init=False, repr=False, compare=False)
    """The text of each message, as a person would read it."""
    read_bytes: int = field(init=False, repr=False, compare=False)
    """UTF-8 bytes of what a model surely reads: these texts, tool calls, tools and schemas."""
    prompt_bytes: int = field(init=False, repr=False, compare=False)
    """UTF-8 bytes of everything that an upstream may count as prompt: messages, tools and schemas."""
    needs: frozenset[str] = field(init=False, repr=False, compare=False)
    """The capabilities that a model must have to answer this at all."""

    def __post_init__(self) -> None:
        _check_messages(self.messages)
        if self.model is not None and (not isinstance(self.model, str) or not 0 < len(self.model) <= 200):
            raise InvalidInput("model", "must be a name of at most 200 characters")
        if self.max_tokens is not None:
            _check_count("max_tokens", self.max_tokens, MAX_TOKENS)
        for name, value in self.options.items():
            if name not in FORWARDED:
                raise InvalidInput(name, "is not an option of a chat completion here")
            if name == "n" and value is not None:
                _check_count("n", value, MAX_CHOICES)
            if name == "tools" and value is not None:
                _check_tools(value)
        found = vars(self)  # as a frozen class lets itself be filled
        found["wanted"] = None if self.model in (None, "auto") else self.model
        found["choices"] = self.options.get("n") or 1
        found["forwarded"] = {name: value for name, value in self.options.items() if value is not None}
        found["images"] = [part["image_url"]["url"] for part in _parts(self.messages) if part["type"] == "image_url"]
        found["texts"] = [text_of(message) for message in self.messages]
        _check_options(self.forwarded)
        found["prompt_bytes"] = _prompt_bytes(self.messages, self.forwarded)
        found["read_bytes"] = _read_bytes(self.texts, self.messages, self.forwarded)
        found["needs"] = _needs(self.forwarded, bool(self.images))

    @classmethod
    def parse(cls, body: Any) -> CompletionRequest:
        """The request in the body of `POST /v1/chat/completions`; fields that are ours are set aside."""
        if not isinstance(body, dict):
            raise InvalidInput("body", "must be a JSON object")
        for name in body.keys() & NOT_OFFERED:
            raise InvalidInput(name, "is not offered: what it costs is not known before the call")
        if body.get("service_tier") not in (None, "auto", "default"):
            raise InvalidInput("service_tier", "must be default: other tiers have other prices")
        limits = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
        return cls(
            messages=body.get("messages"),  # type: ignore[arg-type]  # checked by the constructor
            model=body.get("model"),
            max_tokens=limits[0] if limits else None,
            options={name: value for name, value in body.items() if name not in _NOT_OPTIONS},
        )


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, its parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part.get("type") == "text")


def _check_options(options: dict[str, Any]) -> None:
    """Each can be written as JSON, wherever it is put: nested less deep than any writer allows."""
    for name in options.keys() - _IN_PROMPT:
        try:
            orjson.dumps([[[[options[name]]]]])
        except (TypeError, ValueError):
            raise InvalidInput(name, "must be JSON, and nested less than 250 deep") from None


def _prompt_bytes(messages: list[dict[str, Any]], options: dict[str, Any]) -> int:
    """Text that no JSON can carry is refused here, not in the middle of a call."""
    counted = {name: value for name in _IN_PROMPT if (value := options.get(name))}
    try:
        return len(orjson.dumps([messages, counted]))
    except (TypeError, ValueError):
        raise InvalidInput("messages", "must be JSON: text in valid Unicode, numbers of 64 bits") from None


def _read_bytes(texts: list[str], messages: list[dict[str, Any]], options: dict[str, Any]) -> int:
    calls = [call for message in messages if (call := message.get("tool_calls") or message.get("function_call"))]
    read = [*calls, *(value for name in _IN_PROMPT if (value := options.get(name)))]
    return sum(len(text.encode()) for text in texts) + sum(len(orjson.dumps(each)) for each in read)


def _needs(options: dict[str, Any], sees_images: bool) -> frozenset[str]:
    calls = bool(options.get("tools") or options.get("functions"))
    response_format = options.get("response_format")
    formats = isinstance(response_format, dict) and response_format.get("type") in ("json_object", "json_schema")
    if not (calls or formats or sees_images):
        return _CHAT
    wanted = {"function_calling": calls, "json": formats, "vision": sees_images}
    return _CHAT | {name for name, is_needed in wanted.items() if is_needed}


def _check_tools(tools: Any) -> None:
    """Only what the caller runs itself: an upstream's own tools (searches, sandboxes) are billed beside the tokens."""
    if not isinstance(tools, list):
        raise InvalidInput("tools", "must be a list")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") not in _TOOLS:
            raise InvalidInput(f"tools[{index}].type", "must be one of " + ", ".join(_TOOLS))


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("messages", "must be a list of at least one message")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidInput(where, "must be an object")
        if message.get("role") not in _ROLES:
            raise InvalidInput(f"{where}.role", "must be one of " + ", ".join(_ROLES))
        _check_content(f"{where}.content", message)


def _check_content(where: str, message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if message["role"] != "assistant":
            raise InvalidInput(where, "must be text or a list of parts")
        return
    if not isinstance(content, list):
        raise InvalidInput(where, "must be text or a list of parts")
    for index, part in enumerate(content):
        here = f"{where}[{index}]"
        if not isinstance(part, dict) or part.get("type") not in _PARTS:
            raise InvalidInput(f"{here}.type", "must be one of " + ", ".join(_PARTS))
        cache_control = part.get("cache_control")
        if isinstance(cache_control, dict) and cache_control.get("ttl") not in (None, "5m"):
            raise InvalidInput(f"{here}.cache_control.ttl", "must be 5m: longer lifetimes have other prices")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise InvalidInput(f"{here}.text", "must be text")
        if part["type"] == "image_url":
            image = part.get("image_url")
            if not isinstance(image, dict) or not isinstance(image.get("url"), str):
                raise InvalidInput(f"{here}.image_url", "must be an object with a url")


def _check_count(param: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidInput(param, f"must be a whole number from 1 to {most}")


def _parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = (message.get("content") for message in messages)
    return [part for content in contents if isinstance(content, list) for part in content]
