"""Where upstreams differ from OpenAI, what goes out is theirs and what comes in is OpenAI's."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from engine import Catalog, Upstream, Usage, with_known
from engine.errors import StreamCut
from engine.providers import KNOWN, PATIENT, Anthropic, OpenAICompatible, Providers
from engine.providers.openai_answer import Chunks, answer_of
from ledger.errors import InvalidInput
from tests.engine.world import MODEL, ask
from tests.singly import singly
from tests.upstream import FakeUpstream

NOW_US = time.time_ns() // 1_000


def whole(finish: str, content: Any = "hi") -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("stated", "finish"),
    [
        ("stop", "stop"),
        ("tool_calls", "tool_calls"),
        ("eos", "stop"),
        ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("SAFETY", "content_filter"),
        ("tool_use", "tool_calls"),
    ],
)
def test_an_odd_finish_reason_becomes_openais_and_stands_beside_it(stated: str, finish: str) -> None:
    [choice] = answer_of(whole(stated), "mock").choices
    assert choice["finish_reason"] == finish
    assert choice.get("native_finish_reason") == (None if stated == finish else stated)


@pytest.mark.parametrize("stated", ["abort", "error", "insufficient_system_resource"])
def test_an_answer_that_its_upstream_calls_broken_is_no_answer(stated: str) -> None:
    with pytest.raises(StreamCut):
        answer_of(whole(stated), "mock")


def test_content_in_parts_becomes_text() -> None:
    """docs.mistral.ai, "Reasoning": thinking and text are parts of one content."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]},
        {"type": "text", "text": "Four."},
    ]
    [choice] = answer_of(whole("stop", parts), "mistral").choices
    assert choice["message"] == {"role": "assistant", "content": "Four.", "reasoning_content": "Hm. "}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"choices": None, "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"choices": [], "x_groq": {"id": "req_1", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}},
        {"choices": [{"index": 0, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    ],
)
def test_usage_is_found_in_whichever_last_chunk_it_comes(chunk: dict[str, Any]) -> None:
    """In a chunk of its own, without choices, in Groq's corner, or on the finish."""
    [piece] = Chunks("mock", 1).pieces(chunk)
    assert piece.usage == Usage(3, 0, 0, 1)
    assert all(choice["delta"] == {} for choice in piece.choices)


async def test_what_goes_out_is_what_the_upstream_takes(upstream: FakeUpstream) -> None:
    """Its names for models and options, its field for the limit, no option it does not have."""
    odd = Upstream(
        "odd",
        upstream.api,
        models=(MODEL,),
        model_prefix="accounts/odd/",
        renamed=(("seed", "top_logprobs"),),
        unsupported=frozenset({"n", "logit_bias"}),
        max_tokens_field="max_completion_tokens",
        streams_usage=False,
    )
    [model] = Catalog.load([odd]).named("odd/m1", NOW_US)
    provider = OpenAICompatible(odd, None)
    await provider.complete(model, ask("q", seed=3, n=1), 10, PATIENT)
    pieces = [piece async for piece in singly(provider.stream(model, ask("q"), 10, PATIENT))]
    with pytest.raises(InvalidInput) as refused:
        await provider.complete(model, ask("q", logit_bias={"1": 2}), 10, PATIENT)
    await provider.close()
    assert refused.value.param == "logit_bias" and model.unsupported == odd.unsupported
    assert pieces[-1].usage is None
    first, second = upstream.calls()["bodies"]
    assert first.keys() == {"model", "messages", "max_completion_tokens", "top_logprobs"}
    assert first["model"] == "accounts/odd/m1"
    assert "stream_options" not in second


def test_each_known_upstream_is_there_once_its_key_is() -> None:
    """Named, titled, at an https address, with its own adapter, and moved by its own variable."""
    environ = {str(known.api_key_env): "k" for known in KNOWN.values()}
    upstreams = with_known([], environ)
    providers = Providers.from_environment(environ, upstreams)
    assert set(providers.names) == {*KNOWN, "offline"}
    assert isinstance(providers.get("anthropic"), Anthropic)
    for known in KNOWN.values():
        assert known.base_url.startswith("https://") and not known.base_url.endswith("/")
        assert known.shown and known.name == known.name.lower()
        [moved] = [
            upstream
            for upstream in with_known([], {f"{known.name.upper()}_BASE_URL": "http://127.0.0.1:1/v1/"})
            if upstream.name == known.name
        ]
        assert moved == dataclasses.replace(known, base_url="http://127.0.0.1:1/v1")
