"""Whatever an upstream says in JSON is read, or it is garbled: then another may be asked, and nobody gets a bug."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnode.api.chat.openai_answer import chunk_bytes, usage_chunk, whole
from engine import OFFLINE, Chunk, Completion, CompletionRequest, Usage, as_chunks
from engine.errors import UpstreamError, UpstreamGarbled
from engine.providers.anthropic_answer import Events
from engine.providers.anthropic_answer import answer_of as anthropics
from engine.providers.anthropic_request import messages_body
from engine.providers.openai_answer import Chunks, answer_of
from engine.providers.provider import Answer
from engine.providers.upstream_http import Reading, parsed
from engine.relay import Relay
from ledger.errors import InvalidInput

CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGE = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": [CALL, CALL | {"index": 1}]}
LOGPROBS = {"content": [{"token": "a", "logprob": -1}]}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}}


def told(part_in: str, part: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, part_in: part, "logprobs": LOGPROBS, "finish_reason": finish}
    return {"id": "x", "model": "m", "choices": [choice], "usage": USAGE if finish else None}


WHOLE = told("message", MESSAGE, "stop")
STREAM = [
    told("delta", {"role": "assistant", "content": "h"}),
    told("delta", {"reasoning": "so", "tool_calls": [CALL]}),
    told("delta", {"tool_calls": [{"index": 0, "function": {"arguments": " "}}, CALL | {"index": 1}]}),
    told("delta", {}, "stop"),
]
ANTHROPICS_USAGE = {"input_tokens": 3, "output_tokens": 4}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
ANTHROPICS_WHOLE = {
    "id": "m",
    "model": "c",
    "content": [{"type": "text", "text": "hi"}, {"type": "thinking", "thinking": "so"}, TOOL_USE],
    "stop_reason": "end_turn",
    "usage": ANTHROPICS_USAGE,
}
ANTHROPICS_STREAM = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "usage": ANTHROPICS_USAGE}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so"}},
    {"type": "content_block_start", "index": 1, "content_block": TOOL_USE},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ANTHROPICS_USAGE},
]
NAMES = ("type", "index", "tool_calls", "function", "logprobs", "content", "delta", "usage", "x")
PLAIN = st.none() | st.booleans() | st.integers(-1, 3) | st.just(1.5) | st.sampled_from(["", "a", "text", "tool_use"])
ODD = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in it, with a key or an index of it."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from places(inner)


@st.composite
def bent(draw: st.DrawFn, straight: Any) -> Any:
    """The same, but for one to three places, where anything else stands, or something more."""
    body = copy.deepcopy(straight)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(body))))
        if isinstance(container, dict) and draw(st.booleans()):
            key = draw(st.sampled_from(NAMES))
        container[key] = draw(ODD)
    return body


def shown(answer: Answer, last: dict[str, Any] | None = None) -> None:
    """In each way in which a caller may get it."""
    body = orjson.loads(orjson.dumps(answer.body))
    completion = Completion("evt", "p", "m", body, answer.usage or Usage(), 1, 1, 1, "balanced")
    whole(completion, "t", "r")
    for chunk in as_chunks(completion):
        chunk_bytes(chunk, with_usage=True)
    if last is not None:
        usage_chunk(Chunk(last, "p", completion), "t", "r")
    assert isinstance(completion.text, str) and completion.finish_reason


def streamed(reading: Reading, events: Sequence[Any]) -> None:
    relay = Relay(1)
    for event in events:
        relay.read(reading.pieces(parsed(orjson.dumps(event))))
        for piece in relay.ready():
            chunk_bytes(Chunk(piece.chunk, "p"), with_usage=True)
    if reading.is_finished:
        answer = relay.answer()
        shown(answer, relay.rest()[-1].chunk)


@given(bent(WHOLE))
def test_any_answer_is_read_or_garbled(body: Any) -> None:
    try:
        shown(answer_of(parsed(orjson.dumps(body)), "u"))
    except UpstreamError:
        return


@given(bent(STREAM))
def test_any_stream_is_read_or_garbled(events: Any) -> None:
    try:
        streamed(Chunks("u", 1), events)
    except UpstreamError:
        return


@given(bent(ANTHROPICS_WHOLE))
def test_any_answer_of_anthropics_kind_is_read_or_garbled(body: Any) -> None:
    try:
        shown(anthropics(parsed(orjson.dumps(body)), 1))
    except UpstreamError:
        return


@given(bent(ANTHROPICS_STREAM))
def test_any_stream_of_anthropics_kind_is_read_or_garbled(events: Any) -> None:
    try:
        streamed(Events(1), events)
    except UpstreamError:
        return


def test_tool_calls_whose_index_is_null_go_by_their_place() -> None:
    """Two calls in one delta stay two."""
    reading, relay = Chunks("u", 1), Relay(1)
    calls = [CALL | {"index": None}, CALL | {"index": None, "id": "d"}]
    for event in (told("delta", {"tool_calls": calls}), told("delta", {}, "tool_calls")):
        relay.read(reading.pieces(event))
    [choice] = relay.answer().body["choices"]
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["c", "d"]


@pytest.mark.parametrize(
    "part",
    [{"tool_calls": {"0": CALL}}, {"tool_calls": [7]}, {"tool_calls": [CALL | {"index": "0"}]}],
    ids=["no list", "no call", "no index"],
)
def test_tool_calls_of_the_wrong_form_are_garbled(part: dict[str, Any]) -> None:
    """Before the caller is told of them: a stream that failed at its end was a bug, and its money an estimate."""
    with pytest.raises(UpstreamGarbled):
        Chunks("u", 1).pieces(told("delta", part))


@given(calls=ODD)
def test_what_a_caller_says_was_called_is_sent_to_anthropic_or_refused(calls: Any) -> None:
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    with contextlib.suppress(InvalidInput):
        messages_body(dataclasses.replace(OFFLINE, provider="anthropic"), CompletionRequest(messages), 5)
