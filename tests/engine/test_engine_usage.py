"""Published usage objects become one canonical record; what contradicts itself becomes none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Usage
from engine.errors import StreamCut, UpstreamGarbled
from engine.providers.openai_answer import choices_of
from engine.providers.usage_shapes import usage_of


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        # the example response that developer.4d.com shows for OpenAIChatCompletionsResult, read 2026-11-21
        (
            {
                "prompt_tokens": 19,
                "completion_tokens": 10,
                "total_tokens": 29,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            Usage(input_tokens=19, output_tokens=10),
        ),
        # a cached prompt, in the documented shape; the figures are ours
        (
            {
                "prompt_tokens": 2_006,
                "completion_tokens": 300,
                "total_tokens": 2_306,
                "prompt_tokens_details": {"cached_tokens": 1_920},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            Usage(input_tokens=86, cache_read_tokens=1_920, output_tokens=300),
        ),
        # openrouter.ai/docs, "Usage accounting"
        (
            {
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "cost": 0.95,
                "prompt_tokens": 194,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
                "total_tokens": 196,
            },
            Usage(input_tokens=94, cache_write_tokens=100, output_tokens=2),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": None}, Usage(5, 0, 0, 9)),
        ({"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}},
         Usage(5, 0, 0, 2, 7)),
    ],
)  # fmt: skip
def test_a_published_usage_becomes_the_canonical_record(stated: dict[str, Any], usage: Usage) -> None:
    """Its parts are disjoint and sum to what was stated."""
    assert usage_of(stated) == usage
    assert usage.total_tokens == stated["prompt_tokens"] + stated["completion_tokens"]


@pytest.mark.parametrize(
    "stated",
    [
        None,
        [],
        "10",
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": None},
        {"prompt_tokens": 5, "completion_tokens": -1},
        {"prompt_tokens": 5.0, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": [1]},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
        {"prompt_tokens": 10**40, "completion_tokens": 1},
    ],
)
def test_a_usage_that_contradicts_itself_is_none(stated: Any) -> None:
    assert usage_of(stated) is None


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
names = st.sampled_from(["choices", "delta", "content", "index", "finish_reason", "prompt_tokens", "completion_tokens"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@given(anything, anything)
def test_nothing_an_upstream_sends_is_a_crash(body: Any, choices: Any) -> None:
    """Whatever the JSON: choices of the right form, or one error of ours; a usage, or none."""
    usage_of(body)
    for answer in (body, {"choices": choices}, {"choices": [{"delta": choices}]}):
        try:
            found = choices_of(answer, "delta")
        except (UpstreamGarbled, StreamCut):
            continue
        assert all(isinstance(choice["delta"], dict) for choice in found)
