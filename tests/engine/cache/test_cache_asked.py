"""What counts as the same question, what is never cached, and which answers are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import CacheSettings, CompletionRequest, asked_of
from engine.cache.asked import MOST_CHARACTERS, may_be_kept
from engine.cache.settings import SIMILARITY
from ledger.errors import InvalidInput
from tests.engine.cache.cache_world import answer, asked_as, question

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    "other",
    [
        {"model_class": "mock/m2"},
        {"privacy_mode": "fingerprint_only"},
        {"system": "Answer in French."},
        {"max_tokens": 5},
        {"temperature": 0.2},
        {"top_p": 0.5},
        {"stop": ["x"]},
        {"seed": 7},
        {"logprobs": True},
        {"reasoning_effort": "low"},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_shapes_an_answer_keeps_questions_apart(other: dict[str, Any]) -> None:
    """The same words under another model class, prompt, option or privacy scope are of another family."""
    assert question(**other).exact != question().exact
    assert question(**other).family != question().family


def test_only_the_last_words_may_differ_within_a_family() -> None:
    """Other last words are of the same family; another earlier turn is not, nor another turn more."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    last = {"role": "user", "content": "What is two and two?"}
    asked = asked_as([*turns, last])
    assert asked_as([*turns, {**last, "content": "Other?"}]).family == asked.family
    assert asked_as([*turns, {**last, "content": "Other?"}]).exact != asked.exact
    for others in ([last], [turns[0], last], [*turns, *turns, last], [*turns, {**last, "name": "Ann"}]):
        assert asked_as(others).family != asked.family
    assert asked_as([{**turns[0], "content": "Hey"}, turns[1], last]).family != asked.family


def test_who_asks_is_no_part_of_the_question() -> None:
    """Tenant, key and user are kept apart by the rows, not by the hash."""
    assert question(tenant="a", key="k").exact == question(tenant="b", key="l", user="u").exact


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": "tool", "content": "42", "tool_call_id": "c"}],
        [{"role": "function", "name": "f", "content": "42"}],
    ],
)
def test_a_conversation_with_a_tool_call_is_never_cached(messages: list[dict[str, Any]]) -> None:
    """What a tool said is true for its moment only."""
    assert _made(CompletionRequest(messages)) is None


def test_several_answers_and_callers_without_a_key_are_never_cached() -> None:
    """`n > 1` asks for variety; whoever has no key shares a tenant with strangers."""
    plain = [{"role": "user", "content": "x"}]
    assert _made(CompletionRequest(plain, options={"n": 2})) is None
    assert _made(CompletionRequest(plain), key_id=None) is None
    assert _made(CompletionRequest(plain, options={"n": 1})) is not None


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
        {"role": "user", "content": "a" * (MOST_CHARACTERS + 1)},
        {"role": "user", "content": "  "},
        {"role": "assistant", "content": "And so"},
    ],
    ids=["image", "long", "empty", "not the user's"],
)
def test_some_questions_are_answered_only_where_they_are_the_very_same(message: dict[str, Any]) -> None:
    """Images, long texts, no text, and a last word that is not the user's."""
    assert asked_as([message]).words is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [*answer()["choices"], *answer()["choices"]]},
        {**answer(), "error": {"message": "x"}},
        answer(finish_reason="length"),
        answer(finish_reason="content_filter"),
        answer(finish_reason="tool_calls"),
        answer(tool_calls=[CALL]),
        answer(function_call={"name": "f"}),
        answer(refusal="I cannot"),
        answer(""),
        answer(" \n"),
        {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
    ],
)
def test_an_answer_that_is_not_whole_is_never_kept(body: dict[str, Any]) -> None:
    """Truncated, filtered, refused, empty, several, failed, or a tool call."""
    assert not may_be_kept(body)
    assert may_be_kept(answer())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enabled", 1),
        ("similarity", SIMILARITY - 0.01),
        ("similarity", 1.1),
        ("similarity", True),
        ("ttl_s", 0),
        ("ttl_s", 86_401),
        ("ttl_s", 1.5),
        ("partition", "world"),
        ("max_entries", 0),
        ("max_entries", 10**6),
        ("threshold", 1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    """A threshold below the calibrated one too."""
    with pytest.raises(InvalidInput) as refusal:
        CacheSettings().changed({field: value}, SIMILARITY)
    assert refusal.value.param == field


@given(st.none() | st.integers(1, 10**12), st.integers(1, 86_400))
def test_no_answer_is_kept_for_more_than_a_day(asked_ttl_s: int | None, ttl_s: int) -> None:
    """Whatever the request asks; without a wish it is the setting's time."""
    kept_s = CacheSettings(ttl_s=ttl_s).ttl_of(asked_ttl_s)
    assert kept_s == min(ttl_s if asked_ttl_s is None else asked_ttl_s, 86_400)


def _made(request: CompletionRequest, key_id: str | None = "key_1") -> Any:
    return asked_of(
        request, tenant_id="acme", key_id=key_id, user=None, model_class="auto", privacy_mode="fingerprint_only"
    )
