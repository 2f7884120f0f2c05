"""Promise 10: a cut answer never looks whole; over HTTP, at each chunk, whatever broke."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from tests.scenarios.gateway import Gateway, User, asked, upstream_table
from tests.upstream import FakeUpstream, run_upstream

TEXT = "one two three four"
CHEAPEST = {"mode": {"cost": 1}}
CHUNKS = range(1, 5)
"""After each of these the answer breaks; the fifth chunk has the finish reason."""


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with run_upstream() as best, run_upstream() as other:
        yield best, other


@pytest.fixture(scope="module")
def user(upstreams: tuple[FakeUpstream, FakeUpstream], tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Of a node with the same model at two upstreams, one of them far cheaper, that is not patient with silence."""
    best, other = upstreams
    tables = [upstream_table("best", best.api, "m1"), upstream_table("other", other.api, "m1")]
    tables[1]["models"][0] |= {"input_usd_per_mtok": "100", "output_usd_per_mtok": "200"}
    node = Gateway(tmp_path_factory.mktemp("promise-10") / "node", tables, upstream_deadline_s=3)
    yield node.user("acme")
    assert node.stop() == 0


@pytest.fixture(autouse=True)
def fresh(user: User, upstreams: tuple[FakeUpstream, FakeUpstream]) -> None:
    """Nobody rests: the last thing that each upstream did was to answer."""
    for upstream, model in zip(upstreams, ("best/m1", "other/m1"), strict=True):
        upstream.reset()
        assert user.chat("hello", model=model, p402={"failover": False}).status_code == 200
        upstream.reset()
        upstream.behave(always={"text": TEXT})


def stream(user: User, with_usage: bool = False) -> httpx.Response:
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    return user.chat("count", stream=True, p402=CHEAPEST, **options)


def frames_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """What a naive client reads: a line of JSON in each frame, and at the end `[DONE]`, or not."""
    frames = answer.text.split("\n\n")
    assert frames.pop() == ""
    read = [
        {"done": True} if frame == "data: [DONE]" else orjson.loads(frame.removeprefix("data: ")) for frame in frames
    ]
    assert {"done": True} not in read[:-1]
    return read


def assert_broken(user: User, answer: httpx.Response, code: str) -> None:
    """It ends with the error and what was charged, no choice has ended, and the ledger says the same."""
    assert answer.headers["X-P402-Provider"] == "best"
    *parts, last = frames_of(answer)
    error = last["error"]
    assert (error["code"], error["type"]) == (code, "upstream_error")
    assert not any(choice["finish_reason"] for part in parts for choice in part["choices"])
    text = "".join(choice["delta"].get("content") or "" for part in parts for choice in part["choices"])
    assert text and TEXT.startswith(text)
    assert not any(part.get("usage") or part.get("p402_metadata") for part in parts)
    (event,) = user.trace(answer.headers["X-P402-Request-ID"])
    assert (event["decision"], event["provider"], event["estimated"]) == ("upstream_failed", "best", True)
    assert Decimal(event["cost_usd_exact"]) == Decimal(error["charged_usd_exact"]) > 0
    assert {part["id"] for part in parts} == {event["id"]}


def assert_whole(user: User, answer: httpx.Response, provider: str) -> None:
    """Every word, an end, `[DONE]`; header, metadata and event name who served."""
    *parts, last = frames_of(answer)
    assert last == {"done": True} and parts[-1]["choices"][0]["finish_reason"] == "stop"
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in parts) == TEXT
    said = parts[-1]["p402_metadata"]
    assert answer.headers["X-P402-Provider"] == said["provider"] == provider
    (served,) = [event for event in user.trace(said["request_id"]) if event["decision"] == "allowed"]
    assert (served["id"], served["provider"]) == (parts[0]["id"], provider)
    assert said["attempts"][-1]["outcome"] == "served"


@pytest.mark.parametrize("with_usage", [False, True], ids=["plain", "with-usage"])
@pytest.mark.parametrize("after", CHUNKS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [("error_after", "UPSTREAM_CUT"), ("garbage_after", "UPSTREAM_GARBLED")],
    ids=["error", "garbage"],
)
def test_a_stream_that_breaks_after_a_token_ends_with_an_error(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream], fault: str, code: str, after: int, with_usage: bool
) -> None:
    """Nothing of another upstream is put behind what the caller has seen."""
    best, other = upstreams
    best.behave({"text": TEXT, fault: after})
    assert_broken(user, stream(user, with_usage), code)
    assert (best.count, other.count) == (1, 0)


@pytest.mark.parametrize("after", CHUNKS)
def test_a_stream_whose_connection_is_cut_is_whole_or_ends_with_an_error(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream], after: int
) -> None:
    """A reset may overtake the first words; then another serves all of them."""
    best, other = upstreams
    best.behave({"text": TEXT, "cut_after": after})
    answer = stream(user)
    if other.count:
        assert_whole(user, answer, "other")
    else:
        assert_broken(user, answer, "UPSTREAM_CUT")


def test_a_stream_that_ends_without_a_finish_reason_is_not_whole(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream]
) -> None:
    """Tidily closed, with every word: and yet nobody said that it was all."""
    upstreams[0].behave({"text": TEXT, "end_early": True})
    assert_broken(user, stream(user), "UPSTREAM_CUT")


def test_a_stream_that_stalls_ends_with_an_error(user: User, upstreams: tuple[FakeUpstream, FakeUpstream]) -> None:
    """After any of its words; the upstream is let go."""
    best, other = upstreams
    best.behave(*({"text": TEXT, "gate_after": after} for after in CHUNKS))
    with ThreadPoolExecutor(len(CHUNKS)) as pool:
        answers = list(pool.map(lambda _: stream(user), CHUNKS))
    for answer in answers:
        assert_broken(user, answer, "UPSTREAM_TIMEOUT")
    best.until(lambda seen: seen["left"] == len(CHUNKS))
    assert other.count == 0


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ({"drop": True}, "UPSTREAM_CUT"),
        ({"status": 500}, "UPSTREAM_ERROR"),
        ({"status": 429}, "UPSTREAM_BUSY"),
        ({"raw": "<html>"}, "UPSTREAM_CUT"),
        ({"gate_after": 0}, "UPSTREAM_TIMEOUT"),
    ],
    ids=["drop", "500", "429", "garbage", "stall"],
)
def test_before_the_first_token_another_serves_and_is_named(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream], behaviour: dict[str, Any], outcome: str
) -> None:
    """The first one's attempt is in the metadata, and in the ledger."""
    best, other = upstreams
    best.behave(behaviour)
    answer = stream(user)
    assert_whole(user, answer, "other")
    said = frames_of(answer)[-2]["p402_metadata"]
    assert [(each["provider"], each["outcome"]) for each in said["attempts"]] == [
        ("best", outcome),
        ("other", "served"),
    ]
    assert len(user.trace(said["request_id"])) == 2 and (best.count, other.count) == (1, 1)


@pytest.mark.parametrize("behaviour", [{"cut_after": 1}, {"raw": '{"choices": [{"mess'}], ids=["cut", "garbage"])
def test_half_a_whole_answer_is_no_answer(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream], behaviour: dict[str, Any]
) -> None:
    """Where no other may serve it is an error with what was charged, and it is not to be sent again unasked."""
    upstreams[0].behave(behaviour)
    answer = user.chat("count", p402=CHEAPEST | {"failover": False})
    assert answer.status_code == 502 and answer.headers["x-should-retry"] == "false"
    (event,) = user.trace(answer.headers["X-P402-Request-ID"])
    assert event["cost_usd_exact"] == answer.json()["error"]["charged_usd_exact"]


def test_a_caller_who_leaves_stops_the_upstream_and_pays_for_what_came(
    user: User, upstreams: tuple[FakeUpstream, FakeUpstream], record_property: Callable[[str, object], None]
) -> None:
    """After each of the words."""
    best, _ = upstreams
    for after in CHUNKS:
        best.reset()
        best.behave({"text": TEXT, "gate_after": after})
        body = asked("count", stream=True, p402=CHEAPEST)
        with user.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            list(itertools.islice((line for line in answer.iter_lines() if line), after))
        best.until(lambda seen: seen["left"] == 1)
        request_id = answer.headers["X-P402-Request-ID"]
        while user.http.get(f"/api/v2/requests/{request_id}/trace").status_code == 404:
            pass
        (event,) = user.trace(request_id)
        assert (event["decision"], event["estimated"]) == ("cut_short", True)
        assert event["usage"]["output_tokens"] == -(-len(" ".join(TEXT.split()[:after])) // 4)
    record_property("figure", f"{len(CHUNKS)} places to break")
