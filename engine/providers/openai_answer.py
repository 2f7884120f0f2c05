"""OpenAI's wire shapes, read with suspicion: answers, chunks, choices, and what others make of them. Pure."""

from __future__ import annotations

from types import NoneType
from typing import Any

from engine.errors import StreamCut, UpstreamError, UpstreamGarbled
from engine.providers.provider import Answer, Piece
from engine.providers.refusals import error_of
from engine.providers.usage_shapes import usage_of

FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_NEAREST = {
    **dict.fromkeys(("max_tokens", "model_length", "max_length", "token_limit"), "length"),
    **dict.fromkeys(("tool_use", "tool_call", "tool"), "tool_calls"),
    **dict.fromkeys(("safety", "recitation", "prohibited_content", "refusal", "error_toxic"), "content_filter"),
}
"""Of reasons that OpenAI does not have; every other one (`eos`, `COMPLETE`, `end_turn`) is a `stop`."""
_BROKEN = frozenset({"error", "abort", "insufficient_system_resource", "network_error"})
"""Reasons of vLLM, DeepSeek, OpenRouter and Zhipu for an answer that is not whole."""


def answer_of(body: Any, upstream: str) -> Answer:
    """A whole completion. Raises UpstreamGarbled, and what an error object under status 200 means."""
    _refuse_error(body, upstream, begun=False)
    choices = choices_of(body, "message")
    if not choices or not all(choice.get("finish_reason") for choice in choices):
        raise UpstreamGarbled(f"{upstream} answered without a finished choice")
    return Answer(body, usage_of(body.get("usage")))


class Chunks:
    """Reads the chunks of one stream in their order, until `choices` answers have finished."""

    def __init__(self, upstream: str, choices: int) -> None:
        self._upstream, self._choices = upstream, choices
        self._begun = False
        self._finished: set[int] = set()

    @property
    def is_finished(self) -> bool:
        return len(self._finished) >= self._choices

    def pieces(self, chunk: Any) -> list[Piece]:
        """Raises UpstreamGarbled; an error object is StreamCut once the answer has begun."""
        _refuse_error(chunk, self._upstream, self._begun)
        choices = choices_of(chunk, "delta")
        self._begun = True
        self._finished.update(choice.get("index", 0) for choice in choices if choice.get("finish_reason"))
        stated = chunk.get("usage")
        if stated is None and isinstance(groq := chunk.get("x_groq"), dict):
            stated = groq.get("usage")
        return [Piece(chunk, usage_of(stated))]


def choices_of(body: Any, text_in: str) -> list[dict[str, Any]]:
    """The `choices` of a completion (`text_in` is `message`) or a chunk (`delta`), mended in place where upstreams
    differ from OpenAI in ways that lose nothing. Raises UpstreamGarbled, StreamCut."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if choices is None and text_in == "delta" and isinstance(body, dict) and body.get("usage"):
        choices = body["choices"] = []
    if not isinstance(choices, list):
        raise UpstreamGarbled("the upstream's answer has no choices")
    for choice in choices:
        if not isinstance(choice, dict):
            raise UpstreamGarbled("a choice in the upstream's answer is not an object")
        text = choice.get(text_in)
        if text is None and text_in == "delta":
            text = choice["delta"] = {}
        if not isinstance(text, dict):
            raise UpstreamGarbled(f"a choice in the upstream's answer has no {text_in}")
        content = text.get("content")
        if isinstance(content, list):
            _join_parts(text, content)
        elif not isinstance(content, str | None):
            raise UpstreamGarbled("a choice in the upstream's answer has content that is not text")
        reason = choice.get("finish_reason")
        if not isinstance(reason, str | None) or type(choice.get("index", 0)) is not int:
            raise UpstreamGarbled("a choice in the upstream's answer has no proper index or finish_reason")
        if not isinstance(choice.get("logprobs"), dict | None):
            raise UpstreamGarbled("a choice in the upstream's answer has logprobs of the wrong form")
        if text.get("tool_calls") is not None:
            _check_calls(text["tool_calls"])
        if reason is not None and reason not in FINISHES:
            _name_finish(choice, reason)
    return choices


def _check_calls(calls: Any) -> None:
    """Parts of one call are put together by its index, which says nothing where it is null."""
    if not isinstance(calls, list):
        raise UpstreamGarbled("the upstream's answer has tool calls that are no list")
    for call in calls:
        if not isinstance(call, dict) or type(call.get("index", 0)) not in (int, NoneType):
            raise UpstreamGarbled("the upstream's answer has a tool call of the wrong form")
        if "index" in call and call["index"] is None:
            del call["index"]


def _name_finish(choice: dict[str, Any], reason: str) -> None:
    if reason in _BROKEN:
        raise StreamCut(f"the upstream ended its answer with {reason}")
    if not reason:
        choice["finish_reason"] = None
        return
    choice.setdefault("native_finish_reason", reason)
    choice["finish_reason"] = _NEAREST.get(reason.lower(), "stop")


def _join_parts(text: dict[str, Any], parts: list[Any]) -> None:
    """Mistral's content of its reasoning models: `text` and `thinking` parts become OpenAI's text and its cousin's."""
    said: list[str] = []
    thought: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            said.append(part["text"])
        elif kind == "thinking" and isinstance(part.get("thinking"), list):
            thought += [each["text"] for each in part["thinking"] if isinstance(each, dict) and _is_text(each)]
        else:
            raise UpstreamGarbled("a choice in the upstream's answer has content that is not text")
    text["content"] = "".join(said)
    if thought:
        text["reasoning_content"] = "".join(thought)


def _is_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


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
