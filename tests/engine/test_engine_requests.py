"""A request is checked when it is made, and a refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest

from engine import CompletionRequest, upstream_from_table
from ledger.errors import InvalidInput

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("text", "body"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "seed": 2**70}]}, "messages"),
        ({"messages": HELLO, "model": 7}, "model"),
        ({"messages": HELLO, "model": ""}, "model"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": True}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": 1.5}, "max_tokens"),
        ({"messages": HELLO, "max_completion_tokens": 10**12}, "max_tokens"),
        ({"messages": HELLO, "n": 0}, "n"),
        ({"messages": HELLO, "n": "2"}, "n"),
        ({"messages": HELLO, "temprature": 1}, "temprature"),
        ({"messages": HELLO, "web_search_options": {}}, "web_search_options"),
        ({"messages": HELLO, "service_tier": "priority"}, "service_tier"),
        ({"messages": HELLO, "tools": [{"type": "function", "x": "\ud800"}]}, "messages"),
        ({"messages": HELLO, "tools": {"type": "function"}}, "tools"),
        ({"messages": HELLO, "tools": ["function"]}, "tools[0].type"),
        ({"messages": HELLO, "tools": [{"type": "function"}, {"type": "web_search_20250305"}]}, "tools[1].type"),
        ({"messages": HELLO, "tools": [{"type": "openrouter:web_search"}]}, "tools[0].type"),
        ({"messages": HELLO, "tools": [{"googleSearch": {}}]}, "tools[0].type"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(body: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        CompletionRequest.parse(body)
    assert refused.value.param == param


def test_options_that_nobody_priced_cannot_be_slipped_in() -> None:
    """The engine's own door takes no other options than the OpenAI face does."""
    with pytest.raises(InvalidInput) as refused:
        CompletionRequest(HELLO, options={"p402": {}})
    assert refused.value.param == "p402"


def test_max_completion_tokens_is_max_tokens() -> None:
    assert CompletionRequest.parse({"messages": HELLO, "max_completion_tokens": 5, "max_tokens": 9}).max_tokens == 5


MODEL: dict[str, Any] = {
    "id": "m1",
    "input_usd_per_mtok": 0.15,
    "output_usd_per_mtok": "0.60",
    "context": 128_000,
    "max_output": 4_096,
    "capabilities": ["chat"],
    "tier": "budget",
    "quality": 0.5,
}
GOOD: dict[str, Any] = {
    "name": "mock",
    "base_url": "http://127.0.0.1:9000/v1/",
    "api_key_env": "MOCK_KEY",
    "models": [MODEL],
}


def test_an_upstream_reads_from_its_table() -> None:
    """As the operator's file has it; a known name brings its own address and key."""
    mock = upstream_from_table(GOOD)
    assert (mock.name, mock.base_url, mock.api_key_env) == ("mock", "http://127.0.0.1:9000/v1", "MOCK_KEY")
    [model] = mock.models
    assert (model.input_nanos_per_mtok, model.output_nanos_per_mtok) == (150_000_000, 600_000_000)
    known = upstream_from_table({"name": "openai"})
    assert (known.base_url, known.api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "upstreams.name"),
        ({"name": "offline"}, "upstreams.name"),
        ({"base_url": "ftp://x"}, "upstreams.base_url"),
        ({"api_key_env": 7}, "upstreams.api_key_env"),
        ({"modles": []}, "upstreams.modles"),
        ({"models": {}}, "upstreams.models"),
        ({"test": "yes"}, "upstreams.test"),
        ({"models": [{"id": "m1", "input_usd_per_mtok": 1}]}, "upstreams.models[0].output_usd_per_mtok"),
        ({"models": [MODEL | {"input_usd_per_mtok": -1}]}, "upstreams.models[0].input_usd_per_mtok"),
        ({"models": [MODEL | {"quality": float("nan")}]}, "upstreams.models[0].quality"),
        ({"models": [MODEL | {"context": 0}]}, "upstreams.models[0].context"),
        ({"models": [MODEL | {"tier": "huge"}]}, "upstreams.models[0].tier"),
        ({"models": [MODEL | {"capabilities": "chat"}]}, "upstreams.models[0].capabilities"),
    ],
)
def test_a_setting_that_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    """A model without a price is no model; nothing malformed becomes a default."""
    with pytest.raises(InvalidInput) as refused:
        upstream_from_table(GOOD | change)
    assert refused.value.param == param
