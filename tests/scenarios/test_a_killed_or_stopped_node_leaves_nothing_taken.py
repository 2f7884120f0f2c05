"""kill -9 amid 200 calls, and a node that stands still past its leases: one event for each upstream call."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentnode.settings import Settings
from tests.rounds import LONG
from tests.scenarios.engine_books import Books, books_of
from tests.scenarios.engine_load import Answer, Load
from tests.scenarios.engine_node import EngineNode, new_key, reading, running, settings_of, upstream_at
from tests.upstream import FakeUpstream

pytestmark = [pytest.mark.database] if LONG else []
STREAMED, WHOLE = range(1, 201, 2), range(2, 201, 2)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, upstream: FakeUpstream) -> Settings:
    """Leases of a second; the limit of calls at a time is what is asked for, so that a lost slot would be missed."""
    return settings_of(tmp_path, [upstream_at("slow", upstream.api)], database_url=database_url, hold_lease_s=1)


def test_a_node_killed_amid_200_calls_leaves_no_hold_and_no_slot(settings: Settings, upstream: FakeUpstream) -> None:
    """Half of them streams, of which two chunks had come. After restart and sweep each upstream call has its one event,
    an estimate of what was used and never the whole bound, and 200 calls at a time go through again."""
    key = new_key(settings, {"concurrent": 200})
    with running(settings) as node:
        with _in_flight(node, key, upstream) as answers:
            node.kill()
        assert [answer.whole for answer in answers] == [False] * 200
        node.start()
        asyncio.run(_until_nothing_is_held(settings))
        books = asyncio.run(books_of(settings.database))
        books.assert_settled()
        assert books.calls_by_number == dict.fromkeys(range(1, 201), 1)
        assert upstream.count == 200
        assert {(call.decision, bool(call.estimated)) for call in books.calls} == {("owner_lost", True)}
        _cost_more_than_nothing_and_less_than_all(books)

        upstream.open()
        upstream.behave(always={})
        again = asyncio.run(Load([node.url], key, 200).run(range(201, 401)))
        assert [answer.code for answer in again] == [""] * 200


def test_a_node_that_stood_still_past_its_leases_spends_nothing_twice(
    settings: Settings, upstream: FakeUpstream
) -> None:
    """Another node sweeps its calls meanwhile. Awake again it answers all that wait, each with a correction of the
    event that was charged; none is charged again."""
    key = new_key(settings, {"concurrent": 200})
    with running(settings) as node, running(settings):
        with _in_flight(node, key, upstream) as answers:
            _stand_still(node, settings)
            asyncio.run(_until_nothing_is_held(settings))
            swept = asyncio.run(books_of(settings.database))
            swept.assert_settled()
            assert swept.calls_by_number == dict.fromkeys(range(1, 201), 1)
            node.signal(signal.SIGCONT)
            upstream.open()
        assert [(answer.code, answer.whole) for answer in answers] == [("", True)] * 200
        books = asyncio.run(books_of(settings.database))
        books.assert_settled()
        corrections = [event for event in books.events if event.kind == "correction"]
        assert sorted(event.corrects for event in corrections) == sorted(call.id for call in swept.calls)
        assert books.calls == swept.calls
        assert upstream.count == 200


@contextlib.contextmanager
def _in_flight(node: EngineNode, key: str, waits: FakeUpstream) -> Iterator[list[Answer]]:
    """200 calls at the upstream, which waits within 100 streams and before 100 whole answers; at the end of the block
    all callers have seen what became of theirs."""
    answers: list[Answer] = []

    def call(numbers: range) -> threading.Thread:
        calling = threading.Thread(
            target=lambda: answers.extend(asyncio.run(Load([node.url], key, len(numbers)).run(numbers)))
        )
        calling.start()
        return calling

    waits.behave(always={"gate_after": 2})
    streams = call(STREAMED)
    waits.until(lambda calls: calls["waiting"] == len(STREAMED))
    waits.behave(always={"gate_after": 0})
    wholes = call(WHOLE)
    waits.until(lambda calls: calls["waiting"] == len(STREAMED) + len(WHOLE))
    yield answers
    streams.join()
    wholes.join()


def _stand_still(node: EngineNode, settings: Settings) -> None:
    """By SIGSTOP, and not amid a write: on SQLite the whole database would wait for it."""
    while True:
        node.signal(signal.SIGSTOP)
        node.process.until_stopped()
        if settings.database.startswith("postgres") or _may_write(settings):
            return
        node.signal(signal.SIGCONT)


def _may_write(settings: Settings) -> bool:
    """Nobody stands in the gate; the other node may just pass through it, which is not told apart."""
    gate = Path(settings.database.removeprefix("sqlite:///") + ".gate")
    with gate.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


async def _until_nothing_is_held(settings: Settings) -> None:
    async with reading(settings.database) as rows:
        while (await rows("SELECT count(*) FROM holds WHERE state = 'held'"))[0][0]:
            await asyncio.sleep(0.1)


def _cost_more_than_nothing_and_less_than_all(books: Books) -> None:
    """Never the whole bound: 64 tokens of answer were allowed."""
    for call in books.calls:
        assert 0 < call.cost_usd_nanos < 64 * 600, call
