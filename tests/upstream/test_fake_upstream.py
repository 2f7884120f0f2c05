"""The upstream of our tests behaves as the real one where nobody tells it otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.upstream import FakeUpstream, FaultScript, Phase, run_upstream

HELLO: Any = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def running() -> Iterator[FakeUpstream]:
    with run_upstream(api_key="sk-right") as upstream:
        yield upstream


def test_openais_own_client_can_use_it(running: FakeUpstream) -> None:
    """Whole, in a stream with usage, and cut at max_tokens."""
    running.reset()
    client = openai.OpenAI(base_url=running.api, api_key="sk-right")
    whole = client.chat.completions.create(model="m", messages=HELLO)
    assert whole.choices[0].message.content == "You said: hello there"
    parts = list(
        client.chat.completions.create(
            model="m",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert said == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage
    short = client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("You said:", "length")
    assert running.count == 3


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        ("sk-wrong", {"model": "m", "messages": HELLO}, 401),
        ("sk-right", {"model": "m", "messages": HELLO, "p402": {}}, 400),
        ("sk-right", {"model": "m", "messages": HELLO, "user": "c1"}, 400),
        ("sk-right", {"model": "m"}, 400),
    ],
)
def test_it_refuses_what_openai_refuses(running: FakeUpstream, key: str, body: dict[str, object], status: int) -> None:
    """And counts the call all the same."""
    running.reset()
    answer = httpx.post(f"{running.api}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, running.count) == (status, 1)
    assert answer.json()["error"]["message"]


def test_a_script_of_faults_is_told_again_by_its_seed() -> None:
    """What was recorded of each asking is what the script says beforehand, in about the shares that it names."""
    script = FaultScript(7, "a", (Phase(error=0.2), Phase(first=300, busy=1.0)))
    with run_upstream(script=script) as upstream, httpx.Client() as client:
        for number in (*range(200), 300, 300):
            said = {"model": "m", "messages": [{"role": "user", "content": f"#{number} hello"}]}
            status = client.post(f"{upstream.api}/chat/completions", json=said).status_code
            assert status == {"answer": 200, "error": 500, "busy": 429}[script.kind(number)]
        asked = upstream.asked()
    assert asked == {number: [script.kind(number)] for number in range(200)} | {300: ["busy", "busy"]}
    assert 20 < sum(kinds == ["error"] for kinds in asked.values()) < 60
    assert FaultScript.of(script.written()) == script
