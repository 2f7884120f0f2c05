"""What is billed is never above what was held for it, whatever text is sent and whatever is claimed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import OFFLINE, CompletionRequest, Usage
from engine.catalog import cost_usd_nanos
from engine.guard import believable, bound, estimate
from engine.guard.bounds import IMAGE_TOKENS
from engine.providers import Embedder
from tests.rounds import LONG

EMBEDDER = Embedder()
texts = (st.text(max_size=40) | st.text(min_size=200, max_size=500)).map(
    lambda text: text.encode("utf-8", "ignore").decode()
)
roles = st.sampled_from(["system", "user", "assistant"])
requests = st.builds(
    lambda messages, max_tokens: CompletionRequest(messages, None, max_tokens),
    st.lists(st.builds(lambda role, text: {"role": role, "content": text}, roles, texts), min_size=1, max_size=5),
    st.none() | st.integers(1, 5_000),
)


@settings(max_examples=10_000 if LONG else 400, deadline=None)
@given(requests, st.integers(0, 10_000))
def test_a_bound_is_at_least_what_is_billed(request: CompletionRequest, written: int) -> None:
    """Counted by a real tokenizer, with its control tokens for each message, and an answer up to its limit."""
    limit = bound(request, OFFLINE)
    prompt_tokens = 3 + sum(4 + EMBEDDER.count_tokens(text) for text in request.texts)
    usage = Usage(input_tokens=prompt_tokens, output_tokens=min(written, limit.max_tokens))
    assert usage.prompt_tokens <= limit.prompt_tokens
    assert cost_usd_nanos(usage, OFFLINE.price) <= limit.usd_nanos
    assert believable(usage, limit, 0) or not usage.prompt_tokens


@settings(deadline=None)
@given(requests, st.integers(0, 10**9), st.integers(0, 10**9))
def test_an_estimate_is_never_above_the_bound(request: CompletionRequest, produced_bytes: int, hidden: int) -> None:
    limit = bound(request, OFFLINE)
    assert cost_usd_nanos(estimate(request, limit, produced_bytes, hidden), OFFLINE.price) <= limit.usd_nanos


@given(st.builds(Usage, *[st.integers(0, 10**9)] * 5), st.integers(0, 10**6))
def test_a_lie_about_usage_is_not_believed(usage: Usage, produced_bytes: int) -> None:
    """What is believed has read something, counted what it wrote, and is within twice the bound."""
    limit = bound(CompletionRequest([{"role": "user", "content": "q"}], None, 100), OFFLINE)
    if believable(usage, limit, produced_bytes):
        assert 0 < usage.prompt_tokens <= 2 * limit.prompt_tokens
        assert usage.completion_tokens <= 200
        assert usage.completion_tokens > 0 or produced_bytes == 0


def test_tools_and_schemas_are_prompt() -> None:
    """What a tool's description is long, the bound is longer."""
    plain = CompletionRequest([{"role": "user", "content": "q"}])
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 1_000}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": "y" * 1_000}}}
    for options in ({"tools": [tool]}, {"response_format": schema}):
        asked = CompletionRequest(plain.messages, options=options)
        assert bound(asked, OFFLINE).prompt_tokens > bound(plain, OFFLINE).prompt_tokens + 1_000


@pytest.mark.parametrize("url", ["https://example.com/a.png", "data:image/png;base64," + "A" * 100_000])
def test_an_image_is_bounded_by_a_stated_number_and_not_by_its_bytes(url: str) -> None:
    image = {"type": "image_url", "image_url": {"url": url}}
    limit = bound(CompletionRequest([{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]), OFFLINE)
    assert IMAGE_TOKENS < limit.prompt_tokens < IMAGE_TOKENS + 500


def test_an_answer_is_bounded_by_the_models_own_limit_too() -> None:
    """Asked for more than the model writes, the upstream is told what the model writes."""
    asked = CompletionRequest([{"role": "user", "content": "q"}], None, 1_000_000)
    assert bound(asked, OFFLINE).max_tokens == OFFLINE.max_output


def test_an_estimate_counts_what_was_sent_beside_the_words() -> None:
    """Who leaves a stream before its end pays for images, tools, schemas and the tool calls of earlier turns too."""
    said = [{"role": "user", "content": "q"}]
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 4_000}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 4_000}}
    for request in (
        CompletionRequest([*said, image]),
        CompletionRequest([*said, called]),
        CompletionRequest(said, options={"tools": [tool]}),
        CompletionRequest(said, options={"response_format": {"type": "json_schema", "json_schema": tool}}),
    ):
        assert 1_000 <= estimate(request, bound(request, OFFLINE), 0).input_tokens <= 1_100
