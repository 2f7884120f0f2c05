"""Anthropic's Messages API behind OpenAI's form: what is asked, what is answered, how it fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Catalog, CompletionRequest, Upstream, Usage, with_known
from engine.catalog import Model
from engine.errors import (
    PromptRejected,
    StreamCut,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamTimedOut,
)
from engine.providers import KNOWN, PATIENT, Anthropic, Piece, Timing
from engine.providers.anthropic_answer import Events, answer_of
from engine.providers.anthropic_request import messages_body
from ledger.errors import InvalidInput
from tests.engine.world import ask, finishes
from tests.singly import singly
from tests.upstream import FakeUpstream

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "It rains?", "parameters": {"type": "object"}, "strict": True},
}


@pytest.fixture
async def provider(upstream: FakeUpstream) -> AsyncIterator[Anthropic]:
    known = KNOWN["anthropic"]
    made = Anthropic(Upstream("anthropic", upstream.api, api="anthropic", unsupported=known.unsupported), "sk-ant")
    yield made
    await made.close()


def model() -> Model:
    return Catalog.load(with_known([], {})).named("anthropic/claude-opus-4-6", time.time_ns() // 1_000)[0]


def request(*messages: dict[str, Any], **options: Any) -> CompletionRequest:
    return CompletionRequest(list(messages), None, None, options)


def test_a_conversation_is_asked_as_anthropic_takes_it() -> None:
    """System apart, turns that alternate, tool calls and their results as blocks, images by URL or bytes."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Paris"}'}}
    asked = request(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]},
        {"role": "user", "content": "and say"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "developer", "content": "In French."},
        tools=[TOOL], tool_choice="required", parallel_tool_calls=False, stop="END", temperature=0.3,
    )  # fmt: skip
    assert messages_body(model(), asked, 100) == {
        "model": "claude-opus-4-6",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In French."}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "text", "text": "and say"},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Paris"}}
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]},
        ],
        "temperature": 0.3,
        "stop_sequences": ["END"],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}, "description": "It rains?"}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "perhaps", "tools": [TOOL]}, "tool_choice"),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"n": 2}, "n"),
        ({"seed": 7}, "seed"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
async def test_what_has_no_counterpart_is_refused_by_name(
    provider: Anthropic, upstream: FakeUpstream, stated: dict[str, Any], param: str
) -> None:
    """Before anything is sent, whole or streamed."""
    with pytest.raises(InvalidInput) as refused:
        await provider.complete(model(), ask("q", **stated), 10, PATIENT)
    assert refused.value.param == param
    with pytest.raises(InvalidInput):
        await anext(singly(provider.stream(model(), ask("q", **stated), 10, PATIENT)))
    assert upstream.count == 0


def test_a_schema_for_the_answer_is_passed_on() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    stated = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    body = messages_body(model(), ask("q", response_format=stated), 10)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert "output_config" not in messages_body(model(), ask("q", response_format={"type": "text"}), 10)


async def test_an_answer_and_a_stream_are_openais(provider: Anthropic, upstream: FakeUpstream) -> None:
    """The same text, finish and usage; cached tokens are parts of the prompt there; nothing of ours has left."""
    counted = {"input_tokens": 9, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 7, "output_tokens": 3}
    upstream.behave(always={"text": "three little words", "usage": counted})
    answer = await provider.complete(model(), ask("q", n=1), 10, PATIENT)
    usage = Usage(9, 7, 4, 3)
    assert (answer.choices[0]["message"]["content"], answer.choices[0]["finish_reason"]) == (
        "three little words",
        "stop",
    )
    assert answer.usage == usage
    assert answer.body["object"] == "chat.completion" and answer.body["usage"]["prompt_tokens"] == 20
    assert answer.body["usage"]["prompt_tokens_details"] == {"cached_tokens": 7, "cache_write_tokens": 4}
    pieces = [piece async for piece in singly(provider.stream(model(), ask("q"), 10, PATIENT))]
    deltas = [piece.choices[0]["delta"] for piece in pieces]
    assert deltas[0] == {"role": "assistant", "content": "three"}
    assert "".join(delta.get("content", "") for delta in deltas) == "three little words"
    assert [finishes(piece) for piece in pieces] == [False, False, False, True]
    assert pieces[-1].usage == usage and pieces[-1].chunk["usage"] == answer.body["usage"]
    calls = upstream.calls()
    assert (calls["count"], calls["violations"]) == (2, [])


async def test_a_tool_call_comes_whole_and_in_parts(provider: Anthropic, upstream: FakeUpstream) -> None:
    """Its arguments are JSON text, and in a stream their parts join to the same."""
    answer = await provider.complete(model(), ask("weather?", tools=[TOOL]), 10, PATIENT)
    [call] = answer.choices[0]["message"]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("toolu_1", "function", "weather")
    assert json.loads(call["function"]["arguments"]) == {"place": "Paris"}
    assert answer.choices[0]["finish_reason"] == "tool_calls"
    pieces = [piece async for piece in singly(provider.stream(model(), ask("weather?", tools=[TOOL]), 10, PATIENT))]
    parts = [part for piece in pieces for part in piece.choices[0]["delta"].get("tool_calls", ())]
    assert parts[0] == {
        "index": 0,
        "id": "toolu_1",
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    assert json.loads("".join(part["function"]["arguments"] for part in parts)) == {"place": "Paris"}
    assert pieces[-1].choices[0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PromptRejected),
        (401, UpstreamDenied),
        (429, UpstreamBusy),
        (500, UpstreamError),
        (529, UpstreamOverloaded),
    ],
)
async def test_its_refusals_are_told_apart(
    provider: Anthropic, upstream: FakeUpstream, status: int, error: type[UpstreamError]
) -> None:
    upstream.behave({"status": status})
    with pytest.raises(UpstreamError) as raised:
        await provider.complete(model(), ask("q"), 10, PATIENT)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"error_after": 1}, UpstreamOverloaded),
        ({"error_after": 5}, StreamCut),
        ({"garbage_after": 4}, UpstreamGarbled),
        ({"cut_after": 5}, StreamCut),
        ({"end_early": True}, StreamCut),
        ({"gate_after": 5}, UpstreamTimedOut),
        ({"gate_after": 0}, UpstreamTimedOut),
    ],
)
async def test_a_stream_that_is_cut_never_looks_whole(
    provider: Anthropic, upstream: FakeUpstream, behaviour: dict[str, Any], error: type[UpstreamError]
) -> None:
    """An error before the first token says that nothing is owed; no piece of a cut stream finishes."""
    upstream.behave({"text": "one two three four"} | behaviour)
    seen: list[Piece] = []

    async def read() -> None:
        async for piece in singly(provider.stream(model(), ask("q"), 10, Timing(0.5, 0.7))):
            seen.append(piece)  # noqa: PERF401  what came before the error is looked at

    with pytest.raises(UpstreamError) as raised:
        await read()
    assert type(raised.value) is error
    assert not any(finishes(piece) for piece in seen)
    await asyncio.to_thread(upstream.open)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_its_stop_reasons_become_openais_and_stand_beside_them(reason: str, finish: str) -> None:
    answer = answer_of({"content": [{"type": "thinking", "thinking": "hm"}], "stop_reason": reason}, 0)
    [choice] = answer.choices
    assert (choice["finish_reason"], choice["native_finish_reason"], answer.usage) == (finish, reason, None)
    assert choice["message"]["reasoning_content"] == "hm"


words = st.sampled_from(
    ["type", "index", "delta", "content_block", "message", "usage", "stop_reason", "content", "text"]
)
kinds = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "error", "text"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | kinds,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(anything, max_size=4), anything)
def test_nothing_it_sends_is_a_crash(events: list[Any], body: Any) -> None:
    """Whatever the JSON: pieces, or one error of ours."""
    reading = Events(0)
    try:
        for event in events:
            reading.pieces(event)
        answer_of(body, 0)
    except UpstreamError:
        pass
