"""What becomes of one POST: an answer within its deadlines, or an error that says how far it came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from engine import Catalog, Upstream
from engine.catalog import Model
from engine.errors import UpstreamError, UpstreamGarbled, UpstreamTimedOut
from engine.providers import PATIENT, OpenAICompatible, Timing
from ledger.errors import InvalidInput
from tests.engine.world import MODEL, ask, finishes
from tests.singly import singly
from tests.upstream import FakeUpstream

HURRIED = Timing(first_byte_s=0.2, total_s=30)
SHORT = Timing(first_byte_s=0.2, total_s=0.3)


@pytest.fixture
async def provider(upstream: FakeUpstream) -> AsyncIterator[OpenAICompatible]:
    made = OpenAICompatible(Upstream("mock", upstream.api, models=(MODEL,)), None)
    yield made
    await made.close()


def model() -> Model:
    [found] = Catalog.load([Upstream("mock", "http://127.0.0.1:1", models=(MODEL,))]).named(
        "mock/m1", time.time_ns() // 1_000
    )
    return found


async def test_no_first_byte_in_its_time_is_a_time_out(provider: OpenAICompatible, upstream: FakeUpstream) -> None:
    """Whole or streamed; the call was sent, so it may be billed."""
    upstream.behave(always={"gate_after": 0})
    with pytest.raises(UpstreamTimedOut):
        await provider.complete(model(), ask("q"), 10, HURRIED)
    with pytest.raises(UpstreamTimedOut):
        [piece async for piece in singly(provider.stream(model(), ask("q"), 10, HURRIED))]
    await asyncio.to_thread(upstream.until, lambda calls: calls["left"] == 2)


async def test_the_first_byte_stops_only_the_first_clock(provider: OpenAICompatible, upstream: FakeUpstream) -> None:
    """A stream that has begun may be slower than its first byte, and ends at its total."""
    slow = {"gate_after": 2, "text": "one two three"}
    upstream.behave(slow)
    stream = singly(provider.stream(model(), ask("q"), 10, HURRIED))
    began = time.monotonic()
    seen = [(await anext(stream)).choices[0]["delta"]["content"] for _ in range(2)]
    while time.monotonic() < began + 0.3:  # the first byte's time is over, and nothing ends the stream
        pass
    upstream.open()
    seen += [piece.choices[0]["delta"].get("content", "") async for piece in stream if piece.choices]
    assert "".join(seen) == "one two three"
    upstream.behave(slow)
    with pytest.raises(UpstreamTimedOut):
        [piece async for piece in singly(provider.stream(model(), ask("q"), 10, SHORT))]


async def test_an_answer_comes_as_the_upstream_made_it(provider: OpenAICompatible, upstream: FakeUpstream) -> None:
    """Members that are not ours to know pass through: whole and in each chunk."""
    whole = (
        '{"id": "x", "object": "chat.completion", "system_fingerprint": "fp_1", "choices": [{"index": 0, "logprobs": '
        '{"content": []}, "message": {"role": "assistant", "content": "hi", "annotations": []}, "finish_reason": '
        '"stop"}]}'
    )
    upstream.behave({"raw": whole})
    answer = await provider.complete(model(), ask("q"), 10, PATIENT)
    assert answer.body["system_fingerprint"] == "fp_1"
    assert answer.choices[0]["logprobs"] == {"content": []} and answer.choices[0]["message"]["annotations"] == []
    assert answer.usage is None
    pieces = [piece async for piece in singly(provider.stream(model(), ask("q"), 10, PATIENT))]
    assert {piece.chunk["created"] for piece in pieces} == {1_700_000_000}
    assert [finishes(piece) for piece in pieces][-2:] == [True, False] and pieces[-1].usage is not None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('{"error": {"code": 429, "message": "busy"}}', "UPSTREAM_BUSY"),
        ('{"error": {"code": 502, "message": "model down"}}', "UPSTREAM_ERROR"),
        ('{"error": {"code": 402, "message": "pay"}}', "UPSTREAM_DENIED"),
        ('{"error": "odd"}', "UPSTREAM_ERROR"),
    ],
)
async def test_an_error_under_a_200_is_the_error_it_names(
    provider: OpenAICompatible, upstream: FakeUpstream, raw: str, code: str
) -> None:
    """As OpenRouter sends them once it has begun to answer."""
    upstream.behave({"raw": raw})
    with pytest.raises(UpstreamError) as raised:
        await provider.complete(model(), ask("q"), 10, PATIENT)
    assert raised.value.code == code


async def test_what_no_json_can_carry_is_refused_and_not_sent(
    provider: OpenAICompatible, upstream: FakeUpstream
) -> None:
    with pytest.raises(InvalidInput):
        await provider.complete(model(), ask("q", seed=10**30), 10, PATIENT)
    assert upstream.count == 0


async def had(provider: OpenAICompatible, streamed: bool) -> None:
    if streamed:
        [piece async for piece in singly(provider.stream(model(), ask("q"), 10, PATIENT))]
    else:
        await provider.complete(model(), ask("q"), 10, PATIENT)


DEEP = "[" * 300 + "]" * 300
WHOLE = '{"choices": [{"message": {"content": "hi", "odd": %s}, "finish_reason": "stop"}]}'
CHUNK = 'data: {"choices": [{"delta": {"content": "hi", "odd": %s}, "finish_reason": null}]}\n\n'


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("odd", [DEEP, '{"a":' * 300 + "1" + "}" * 300])
async def test_what_could_not_be_passed_on_is_garbled(
    provider: OpenAICompatible, upstream: FakeUpstream, odd: str, streamed: bool
) -> None:
    """JSON that is nested deeper than any writer writes it: another upstream may be asked, and nobody gets a 500."""
    upstream.behave({"raw": (CHUNK if streamed else WHOLE) % odd})
    with pytest.raises(UpstreamGarbled):
        await had(provider, streamed)


async def test_many_brackets_side_by_side_are_no_harm(provider: OpenAICompatible, upstream: FakeUpstream) -> None:
    upstream.behave({"raw": WHOLE % f"[{', '.join(['[]'] * 300)}]"})
    answer = await provider.complete(model(), ask("q"), 10, PATIENT)
    assert answer.choices[0]["message"]["odd"] == [[]] * 300


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_compressed_answer_is_not_unpacked(
    provider: OpenAICompatible, upstream: FakeUpstream, streamed: bool
) -> None:
    """It was asked for as it is: a small one can unpack to any size."""
    upstream.behave({"raw": WHOLE % ('"' + "0" * 10_000_000 + '"'), "compressed": True})
    with pytest.raises(UpstreamGarbled, match="compressed"):
        await had(provider, streamed)
