"""The upstream of our tests behaves as the real one where nobody tells it otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.upstream import FakeUpstream, run_upstream

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
