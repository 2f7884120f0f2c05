"""OpenAI's Python SDK needs nothing but the node's URL and a key: what it can ask, get and catch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.scenarios.gateway import Gateway, User, upstream_table
from tests.upstream import FakeUpstream

HELLO: Any = [{"role": "user", "content": "hello there"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALLS = [{"name": "weather", "arguments": '{"city":"Bern"}'}, {"name": "weather", "arguments": '{"city":"Rome"}'}]
BASES = ("/v1", "/api/v2")


@pytest.fixture(scope="module")
def gateway(upstream_process: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tables = [upstream_table("mock", upstream_process.api, "m1", "acme/m2")]
    node = Gateway(tmp_path_factory.mktemp("sdk") / "node", tables)
    yield node
    assert node.stop() == 0


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> User:
    return gateway.user("acme")


def metadata(of: Any) -> dict[str, Any]:
    found: dict[str, Any] = of.p402_metadata
    return found


@pytest.mark.parametrize("base", BASES)
def test_a_completion_has_its_text_its_usage_and_what_it_cost(user: User, upstream: FakeUpstream, base: str) -> None:
    """Under both base URLs; its id is an economic event's, which the trace of its request knows."""
    raw = user.sdk(base).chat.completions.with_raw_response.create(model="m1", messages=HELLO, max_tokens=50)
    answer = raw.parse()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("You said: hello there", "stop")
    said = metadata(answer)
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 4)
    assert (said["cost_usd"], said["cost_usd_exact"]) == (0.000014, "0.000014")
    assert (said["provider"], said["model"], said["cached"], said["routing_mode"]) == (
        *("mock", "mock/m1", False, "balanced"),
    )
    assert raw.headers["X-P402-Cost-USD"] == "0.000014" and raw.headers["X-P402-Provider"] == "mock"
    assert raw.headers["X-P402-Latency-MS"] == str(said["latency_ms"])
    assert raw.headers["X-P402-Request-ID"] == said["request_id"]
    (event,) = user.trace(said["request_id"])
    assert (event["id"], event["decision"], event["cost_usd_exact"]) == (answer.id, "allowed", "0.000014")
    assert upstream.calls()["violations"] == []


async def test_the_async_client_gets_the_same(user: User, upstream: FakeUpstream) -> None:
    """Whole and streamed."""
    async with openai.AsyncOpenAI(base_url=f"{user.url}/v1", api_key=user.key, max_retries=0) as client:
        whole = await client.chat.completions.create(model="m1", messages=HELLO)
        stream = await client.chat.completions.create(model="m1", messages=HELLO, stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == whole.choices[0].message.content == "You said: hello there"


@pytest.mark.parametrize("base", BASES)
def test_a_stream_carries_its_metadata_on_the_finish_chunk(user: User, upstream: FakeUpstream, base: str) -> None:
    """No chunk without choices that was not asked for, no estimate of cost or latency in a header."""
    raw = user.sdk(base).chat.completions.with_raw_response.create(model="m1", messages=HELLO, stream=True)
    assert raw.headers["Content-Type"].startswith("text/event-stream")
    assert {"x-p402-cost-usd", "x-p402-latency-ms"}.isdisjoint(name.lower() for name in raw.headers)
    chunks = list(raw.parse())
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: hello there"
    *before, last = chunks
    assert last.choices[0].finish_reason == "stop" and last.usage is None
    assert metadata(last)["cost_usd_exact"] == "0.000014"
    assert not any(hasattr(chunk, "p402_metadata") or chunk.usage for chunk in before)
    assert metadata(last)["request_id"] == raw.headers["X-P402-Request-ID"]
    assert {chunk.id for chunk in chunks} == {user.trace(metadata(last)["request_id"])[0]["id"]}


def test_a_stream_with_usage_carries_its_metadata_there(user: User, upstream: FakeUpstream) -> None:
    """The one chunk without choices is the one that was asked for, and the last."""
    options: Any = {"include_usage": True}
    chunks = list(
        user.sdk().chat.completions.create(model="m1", messages=HELLO, stream=True, stream_options=options, n=2)
    )
    *others, last = chunks
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 8
    assert metadata(last)["cost_usd_exact"] == "0.000022"
    assert all(chunk.choices and chunk.usage is None for chunk in others)
    assert not any(hasattr(chunk, "p402_metadata") for chunk in others)


def test_a_stream_ends_with_done(user: User, upstream: FakeUpstream) -> None:
    """As the bytes say it: frames of one line each, an empty line after each, `[DONE]` the last."""
    frames = user.chat("hello", stream=True).text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""] and all(frame.startswith("data: {") for frame in frames[:-2])


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_of_tools_come_back_as_they_were_made(user: User, upstream: FakeUpstream, streamed: bool) -> None:
    """Two of them, whole or in parts; what the tools said goes to the upstream as it stands."""
    upstream.behave({"calls": CALLS})
    asked: Any = {"model": "m1", "messages": HELLO, "tools": [WEATHER], "tool_choice": "auto"}
    if streamed:
        with user.sdk().chat.completions.stream(**asked) as stream:
            answer: Any = stream.get_final_completion()
    else:
        answer = user.sdk().chat.completions.create(**asked)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and not message.content
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        (call["name"], call["arguments"]) for call in CALLS
    ]
    said = message.model_dump(exclude_unset=True, include={"role", "content", "tool_calls"})
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    user.sdk().chat.completions.create(**asked | {"messages": [*HELLO, said, *results]})
    sent = upstream.calls()["bodies"][-1]
    assert sent["messages"][2:] == results and sent["tools"] == [WEATHER] and sent["tool_choice"] == "auto"


def test_what_shapes_an_answer_reaches_the_upstream_unchanged(user: User, upstream: FakeUpstream) -> None:
    """And nothing else does: not our object, not who the customer is."""
    shaped: dict[str, Any] = {
        "stop": ["END"],
        "seed": 7,
        "n": 2,
        "temperature": 0.3,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_object"},
        "logit_bias": {"50256": -100},
        "reasoning_effort": "low",
    }
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it? JSON."}, picture]}]
    answer = user.sdk().chat.completions.create(
        model="m1",
        messages=messages,
        max_completion_tokens=40,
        **shaped,
        metadata={"department": "claims", "run": "9"},
        user="u1",
        store=False,
        extra_body={"p402": {"mode": "cost", "max_cost": 1}},
    )
    assert [choice.logprobs is not None for choice in answer.choices] == [True, True]
    seen = upstream.calls()
    sent = seen["bodies"][-1]
    limit = {name: sent.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in sent}
    assert list(limit.values()) == [40] and sent == {"model": "m1", "messages": messages, **shaped}
    assert seen["violations"] == []
    (event,) = user.trace(metadata(answer)["request_id"])
    assert event["attribution"] == {"department_id": "claims", "tags": {"run": "9"}}
    assert metadata(answer)["routing_mode"] == "cost"


def test_json_answers_are_parsed_into_what_was_asked_for(user: User, upstream: FakeUpstream) -> None:
    """The SDK's own way to a JSON schema."""
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    upstream.behave({"text": '{"name":"Bern"}'})
    answer = user.sdk().chat.completions.parse(model="m1", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Bern")
    assert upstream.calls()["bodies"][-1]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("name", ["mock/m1", "m1", "M1", "acme/m2", "mock/acme/m2", "auto", None])
def test_a_model_is_named_as_one_is_used_to(user: User, upstream: FakeUpstream, name: str | None) -> None:
    """By catalog id, the upstream's own name, OpenRouter's vendor/model, or not at all."""
    answer = user.sdk().chat.completions.create(messages=HELLO, model=name)  # type: ignore[arg-type]
    served = metadata(answer)["model"]
    assert served.startswith("mock/") and (name in (None, "auto") or served.endswith(str(name).lower()))


@pytest.mark.parametrize("base", BASES)
def test_models_are_listed(user: User, base: str) -> None:
    listed = {model.id for model in user.sdk(base).models.list()}
    assert {"mock/m1", "mock/acme/m2", "offline/extract"} <= listed


def test_refusals_are_the_sdks_own_errors(gateway: Gateway, user: User, upstream: FakeUpstream) -> None:
    """Each with its code; the field where one is at fault, and the request's id."""
    viewer = gateway.user("acme", "meter:read")
    small = user.session("0.000001")

    def refused(kind: type[openai.APIStatusError], by: User = user, **asked: Any) -> openai.APIStatusError:
        with pytest.raises(kind) as caught:
            by.sdk().chat.completions.create(**{"model": "m1", "messages": HELLO, **asked})
        error = caught.value
        assert error.message.startswith("Error code") and f"{error.code}: " in error.message
        assert error.response.headers["X-P402-Request-ID"].startswith("req_")
        return error

    assert refused(openai.AuthenticationError, User(user.url, "p402_live_" + "0" * 64)).code == "KEY_INVALID"
    assert refused(openai.PermissionDeniedError, viewer).code == "SCOPE_MISSING"
    for asked, param in (
        ({"messages": []}, "messages"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"p402": {"mode": "fast"}}}, "p402.mode"),
        ({"extra_body": {"top_k": 4}}, "top_k"),
        ({"extra_body": {"stream": "yes"}}, "stream"),
        ({"extra_body": {"stream": True, "stream_options": [1]}}, "stream_options"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ):
        error = refused(openai.BadRequestError, **asked)
        assert (error.code, error.param) == ("INVALID_INPUT", param)
    spent = refused(openai.APIStatusError, extra_body={"p402": {"session_id": small}}, max_tokens=900)
    assert (spent.status_code, spent.code, spent.type) == (402, "SESSION_BUDGET_EXCEEDED", "payment_required")
    assert not isinstance(spent, openai.BadRequestError) and "PAYMENT-REQUIRED" not in spent.response.headers
    assert refused(openai.NotFoundError, model="nobody/knows").code == "MODEL_NOT_FOUND"
    assert upstream.count == 0


def test_an_upstreams_failures_are_told_apart(user: User, upstream: FakeUpstream) -> None:
    """Its refusal of the prompt is the caller's 400; what it failed at is a 502, with what was charged for it; a
    model whose upstream has no key here is a 503."""
    alone: Any = {"model": "m1", "messages": HELLO, "extra_body": {"p402": {"failover": False}}}
    upstream.behave({"status": 400, "error_message": "too long"}, {"status": 500})
    create = user.sdk().chat.completions.create
    with pytest.raises(openai.BadRequestError) as rejected:
        create(**alone)
    assert rejected.value.code == "PROMPT_REJECTED" and "too long" in rejected.value.message
    with pytest.raises(openai.InternalServerError) as failed:
        create(**alone)
    error = failed.value
    assert (error.status_code, error.code) == (502, "UPSTREAM_ERROR")
    assert error.body["charged_usd_exact"] == "0.000003"  # type: ignore[index]
    assert error.response.headers["x-should-retry"] == "false"
    (event,) = user.trace(error.response.headers["X-P402-Request-ID"])
    assert (event["decision"], event["cost_usd_exact"]) == ("upstream_failed", "0.000003")
    with pytest.raises(openai.InternalServerError) as keyless:
        create(model="openai/gpt-4o", messages=HELLO)
    assert (keyless.value.status_code, keyless.value.code) == (503, "MODEL_UNAVAILABLE")


def test_the_sdk_waits_and_tries_again_where_waiting_helps(gateway: Gateway, upstream: FakeUpstream) -> None:
    """With one slot, and that one taken, it is told to wait a moment; once the slot is free its own retry is served."""
    policy = {"limits": {"concurrent": 1}}
    one = gateway.user("one-slot", policy=policy)
    upstream.behave({"gate_after": 1})
    with one.sdk().chat.completions.create(model="m1", messages=HELLO, stream=True) as stream:
        chunks = iter(stream)
        next(chunks)
        with pytest.raises(openai.RateLimitError) as busy:
            one.sdk().chat.completions.create(model="m1", messages=HELLO)
        headers = busy.value.response.headers
        assert busy.value.code == "TOO_MANY_CONCURRENT"
        assert (headers["Retry-After"], headers["retry-after-ms"]) == ("1", "250")
        upstream.open()
        answer = one.sdk(max_retries=8).chat.completions.create(model="m1", messages=HELLO)
        assert answer.choices[0].message.content == "You said: hello there"
        assert list(chunks)[-1].choices[0].finish_reason == "stop"
