"""A client that sends a request again, as OpenAI's SDKs do by themselves, gets the first one's answer and one charge.

The requests are an SDK's: equal bytes, `X-Stainless-Retry-Count` rising from 0; and no other key.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from tests.databases import create_postgres_database
from tests.rounds import LONG
from tests.scenarios.gateway import Gateway, User, asked, upstream_table
from tests.upstream import FakeUpstream

COUNT = "X-Stainless-Retry-Count"
CALLS = [{"name": "weather", "arguments": '{"city":"Bern"}'}]
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"] if LONG else ["sqlite"])
def gateways(
    upstream_process: FakeUpstream, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two processes on one database."""
    folder = tmp_path_factory.mktemp("retries") / "node"
    tables = [upstream_table("mock", upstream_process.api, "m1")]
    url = create_postgres_database(request.getfixturevalue("postgres_uri")) if request.param == "postgres" else ""
    one, other = Gateway(folder, tables, database_url=url), Gateway(folder, tables, database_url=url)
    yield one, other
    assert (one.stop(), other.stop()) == (0, 0)


@pytest.fixture
def users(gateways: tuple[Gateway, Gateway]) -> tuple[User, User]:
    """The same new tenant's key, at each of the two."""
    user = gateways[0].user(f"t{next(_numbers)}")
    return user, User(gateways[1].url, user.key)


def spent(user: User, session_id: str) -> tuple[int, str]:
    stats = user.ask("GET", f"/sessions/{session_id}/stats")
    return stats["request_count"], stats["budget_spent_usd_exact"]


def cut_off(user: User, body: dict[str, Any], upstream: FakeUpstream) -> None:
    """Sends the request and hangs up while the upstream is at work."""
    raw = orjson.dumps(body)
    host, _, port = user.url.removeprefix("http://").partition(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {user.key}\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}{COUNT}: 0\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        upstream.until(lambda seen: seen["waiting"] == 1)


def again(user: User, body: dict[str, Any], count: int = 1) -> httpx.Response:
    headers = {COUNT: str(count), "Content-Type": "application/json"}
    return user.http.post("/v1/chat/completions", content=orjson.dumps(body), headers=headers)


@pytest.mark.parametrize("where", [0, 1], ids=["same-process", "other-process"])
def test_a_retry_joins_the_first_that_is_still_at_work(
    users: tuple[User, User], upstream: FakeUpstream, where: int
) -> None:
    """Its connection was cut while the upstream worked: one call, one event, one charge, and its answer."""
    session_id = users[0].session("1")
    body = asked("work", p402={"session_id": session_id})
    upstream.behave({"gate_after": 0})
    cut_off(users[0], body, upstream)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(again, users[where], body)
        upstream.open()
        answer = waits.result()
    assert answer.json()["choices"][0]["message"]["content"] == "You said: work"
    assert upstream.count == 1 and spent(users[0], session_id) == (1, answer.json()["p402_metadata"]["cost_usd_exact"])
    (event,) = users[0].trace(answer.headers["X-P402-Request-ID"])
    assert event["id"] == answer.json()["id"]


@pytest.mark.parametrize("where", [0, 1], ids=["same-process", "other-process"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("behaviour", [{}, {"calls": CALLS}], ids=["words", "tools"])
def test_a_retry_gets_the_answer_that_was_lost_after_its_capture(
    users: tuple[User, User], upstream: FakeUpstream, where: int, streamed: bool, behaviour: dict[str, Any]
) -> None:
    """As often as it is sent: the same id, words and calls; in a stream, if it was one."""
    session_id = users[0].session("1")
    body = asked("late", stream=streamed, n=2, p402={"session_id": session_id})
    body |= {"tools": [{"type": "function", "function": {"name": "weather"}}]}
    upstream.behave(behaviour)
    first = again(users[0], body, 0)
    for count in (1, 2):
        retried = again(users[where], body, count)
        assert said_in(retried) == said_in(first)
        assert retried.headers["X-P402-Request-ID"] == first.headers["X-P402-Request-ID"]
    assert upstream.count == 1 and spent(users[0], session_id)[0] == 1


def said_in(answer: httpx.Response) -> tuple[str, list[Any]]:
    """The id, and of each choice its words, calls and end."""
    if answer.headers["Content-Type"] == "application/json":
        body = answer.json()
        texts = [(each["message"].get("content") or "", each["message"].get("tool_calls")) for each in body["choices"]]
        return body["id"], [(*said, each["finish_reason"]) for said, each in zip(texts, body["choices"], strict=True)]
    assert answer.text.endswith("data: [DONE]\n\n")
    frames = [orjson.loads(frame[6:]) for frame in answer.text.split("\n\n")[:-2]]
    made = []
    for index in (0, 1):
        parts = [choice for frame in frames for choice in frame["choices"] if choice["index"] == index]
        calls = [call for part in parts for call in part["delta"].get("tool_calls") or ()]
        arguments = "".join(call["function"]["arguments"] for call in calls)
        text = "".join(part["delta"].get("content") or "" for part in parts)
        made.append((text, [calls[0]["id"], arguments] if calls else None, parts[-1]["finish_reason"]))
    return frames[0]["id"], made


def test_the_sdk_itself_pays_once_for_an_answer_that_it_did_not_wait_for(
    users: tuple[User, User], upstream: FakeUpstream
) -> None:
    """Its first try times out while the upstream works; its own second one joins it."""

    def on_request(request: httpx.Request) -> None:
        if request.headers[COUNT] == "1":
            upstream.open()

    upstream.behave({"gate_after": 0})
    session_id = users[0].session("1")
    patient = httpx.Client(event_hooks={"request": [on_request]})
    client = users[0].sdk(max_retries=5, timeout=httpx.Timeout(60, read=1), http_client=patient)
    answer = client.chat.completions.create(
        model="m1", messages=[{"role": "user", "content": "slow"}], extra_body={"p402": {"session_id": session_id}}
    )
    assert answer.choices[0].message.content == "You said: slow"
    assert upstream.count == 1 and spent(users[0], session_id)[0] == 1


def test_without_an_sdks_header_two_equal_requests_are_two_purchases(
    users: tuple[User, User], upstream: FakeUpstream
) -> None:
    """And so they are with it, where both are first tries, or of two keys."""
    first, second = users[0].chat("same"), users[0].chat("same")
    assert upstream.count == 2 and first.json()["id"] != second.json()["id"]
    body = asked("same")
    assert again(users[0], body, 0).json()["id"] != again(users[0], body, 0).json()["id"]
    assert upstream.count == 4


def test_a_retry_of_what_came_to_nothing_runs(users: tuple[User, User], upstream: FakeUpstream) -> None:
    """The upstream refused the first try."""
    body = asked("again", p402={"failover": False})
    upstream.behave({"status": 404})
    assert again(users[0], body, 0).status_code == 502
    assert again(users[0], body, 1).json()["choices"][0]["message"]["content"] == "You said: again"
    assert upstream.count == 2


def test_a_retry_of_a_stream_that_was_left_runs(users: tuple[User, User], upstream: FakeUpstream) -> None:
    """Leaving stops the upstream, so there is no answer to join: its prompt is charged, and then the second one."""
    session_id = users[0].session("1")
    body = asked("left", stream=True, p402={"session_id": session_id})
    upstream.behave({"gate_after": 0})
    cut_off(users[0], body, upstream)
    upstream.until(lambda seen: seen["left"] == 1)
    assert again(users[1], body).text.endswith("data: [DONE]\n\n")
    assert upstream.count == 2 and spent(users[0], session_id)[0] == 2


KEY = {"Idempotency-Key": "order-1"}


def test_under_an_idempotency_key_the_same_answer_comes_back(users: tuple[User, User], upstream: FakeUpstream) -> None:
    """Status, headers and body, from either process, however the JSON is written; other keys and callers buy anew."""
    first = users[0].chat("once", KEY)
    replies = [users[1].chat("once", KEY), users[0].http.post(
        "/api/v2/chat/completions", content=orjson.dumps(asked("once"), option=orjson.OPT_INDENT_2), headers=KEY
    )]  # fmt: skip
    for reply in replies:
        assert (reply.status_code, reply.content) == (200, first.content)
        assert {name: reply.headers[name] for name in reply.headers if name.startswith("x-p402")} == {
            name: first.headers[name] for name in first.headers if name.startswith("x-p402")
        }
    assert upstream.count == 1
    assert users[0].chat("once", {"Idempotency-Key": "order-2"}).json()["id"] != first.json()["id"]


def test_one_idempotency_key_twenty_times_at_once_buys_once(users: tuple[User, User], upstream: FakeUpstream) -> None:
    """The others are told to wait, and then get it."""
    upstream.behave({"gate_after": 0})
    with ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(users[number % 2].chat, "at once", KEY) for number in range(20)]
        upstream.until(lambda seen: seen["waiting"] == 1)
        upstream.open()
        answers = [each.result() for each in asking]
    codes = {answer.json()["error"]["code"] for answer in answers if answer.is_error}
    assert codes <= {"REQUEST_IN_PROGRESS"}
    assert all(int(answer.headers["retry-after-ms"]) > 0 for answer in answers if answer.is_error)
    whole = users[1].chat("at once", KEY)
    assert {answer.content for answer in answers if answer.is_success} == {whole.content}
    assert upstream.count == 1


def test_another_body_under_the_key_is_a_conflict(users: tuple[User, User], upstream: FakeUpstream) -> None:
    """And what cannot be answered again is refused by name."""
    users[0].chat("this", KEY)
    refusal = users[1].chat("that", KEY)
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert refusal.headers["x-should-retry"] == "false"
    streamed = users[0].chat("this", {"Idempotency-Key": "other"}, stream=True)
    assert (streamed.status_code, streamed.json()["error"]["param"]) == (400, "stream")
    empty = users[0].chat("this", {"Idempotency-Key": "two words"})
    assert (empty.status_code, empty.json()["error"]["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    ("behaviour", "calls", "status"),
    [({"status": 404}, 2, 200), ({"status": 500}, 1, 502)],
    ids=["refused-at-no-cost", "failed-at-a-cost"],
)
def test_what_cost_nothing_runs_again_under_its_key_and_what_was_charged_does_not(
    users: tuple[User, User], upstream: FakeUpstream, behaviour: dict[str, Any], calls: int, status: int
) -> None:
    """A failure after a charge is answered as it was."""
    upstream.behave(behaviour)
    first = users[0].chat("hard", KEY, p402={"failover": False})
    assert first.status_code == 502
    second = users[1].chat("hard", KEY, p402={"failover": False})
    assert (second.status_code, upstream.count) == (status, calls)
    assert (second.content == first.content) == (calls == 1)
