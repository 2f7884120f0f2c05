"""A streamed answer is kept whole: every choice, its text, its calls of tools, its end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine import Completion, Usage, as_chunks
from engine.chunks import folded

HEAD = {"id": "evt_1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": None}
texts = st.text(max_size=6)
calls = st.lists(
    st.builds(
        lambda place, name, said: {"id": place, "type": "function", "function": {"name": name, "arguments": said}},
        st.text("abc", min_size=1, max_size=3),
        st.text("xyz", min_size=1, max_size=3),
        texts,
    ),
    min_size=1,
    max_size=3,
)
messages = st.one_of(
    st.builds(lambda text: {"role": "assistant", "content": text}, texts),
    st.builds(lambda text: {"role": "assistant", "content": None, "refusal": text}, texts),
    st.builds(lambda made: {"role": "assistant", "content": None, "tool_calls": made}, calls),
)


def completion_of(body: dict[str, Any]) -> Completion:
    return Completion("evt_1", "p", "p/m", body, Usage(), 0, 0, 0, "balanced")


@given(st.lists(st.tuples(messages, st.sampled_from(["stop", "length", "tool_calls"])), min_size=1, max_size=3))
def test_what_is_laid_out_as_a_stream_folds_into_what_it_was(answers: list[tuple[dict[str, Any], str]]) -> None:
    """Whatever was said, by however many choices."""
    choices = [{"index": i, "message": message, "finish_reason": end} for i, (message, end) in enumerate(answers)]
    body = HEAD | {"object": "chat.completion", "choices": choices, "usage": {"total_tokens": 3}}
    chunks = as_chunks(completion_of(body))
    assert [chunk.completion is not None for chunk in chunks] == [False, True]
    parts = [choice for chunk in chunks for choice in chunk.body["choices"]]
    assert folded(chunks[-1].body, parts, {"total_tokens": 3}) == body


@given(st.lists(st.lists(texts, min_size=1), min_size=3, max_size=3), st.randoms())
def test_parts_are_joined_in_their_order_whatever_lies_between(said: list[list[str]], random: Any) -> None:
    """One choice's text and the arguments of another's two calls, mixed as an upstream likes."""
    order = [iter(each) for each in said]
    mixed = sorted((who for who, each in enumerate(said) for _ in each), key=lambda _: random.random())
    parts: list[dict[str, Any]] = []
    for who in mixed:
        text = next(order[who])
        call = {"index": who - 1, "function": {"arguments": text}}
        delta: dict[str, Any] = {"content": text} if who == 0 else {"tool_calls": [call]}
        parts.append({"index": min(who, 1), "delta": delta, "finish_reason": None})
    ends = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in (0, 1)]
    one, other = folded(HEAD, [*parts, *ends], None)["choices"]
    assert one["message"]["content"] == "".join(said[0])
    assert other["message"]["tool_calls"] == [{"function": {"arguments": "".join(each)}} for each in said[1:]]


def test_a_stream_of_openai_is_kept_as_its_whole_answer_would_be() -> None:
    """Names and ids come once, arguments in parts, logprobs by token."""
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    parts = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    parts[1]["logprobs"] = {"content": [{"token": "f"}], "refusal": None}
    parts[2]["logprobs"] = {"content": [{"token": "a"}], "refusal": None}
    parts.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    (choice,) = folded(HEAD, parts, None)["choices"]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert choice["logprobs"] == {"content": [{"token": "f"}, {"token": "a"}], "refusal": None}
    assert choice["finish_reason"] == "tool_calls"
