"""Promise 7: each upstream call has exactly one priced row, before anyone needs it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentnode.settings import Settings
from ledger.database import Database
from tests.engine.test_engine_crash import sweep
from tests.rounds import LONG, rounds
from tests.scenarios.engine_books import books_of
from tests.scenarios.engine_load import Answer, Load
from tests.scenarios.engine_node import EngineNode, new_key, running, settings_of, upstream_at
from tests.upstream import FakeUpstream

POINTS = (0, 1, 3)
"""After so many chunks of a stream the upstream waits; with a whole answer it waits at 0."""
ENDINGS = ("nothing", "client gone", "database gone", "SIGTERM", "crash")
pytestmark = [pytest.mark.database] if LONG else []
CALLS = 2 * rounds(2)
"""At once, half of them streamed."""


def test_each_upstream_call_has_one_priced_row(
    tmp_path: Path,
    database_url: str,
    upstream: FakeUpstream,
    record_property: Callable[[str, object], None],
) -> None:
    """At each point of an answer, streamed and not, the client goes, the database's connections are cut, the node is
    ended or killed: the rows are the calls, each has a price, and together they are what was spent."""
    settings = settings_of(tmp_path, [upstream_at("slow", upstream.api)], database_url=database_url)
    key = new_key(settings)
    first = 1
    with running(settings) as node:
        for ending in ENDINGS:
            if ending == "database gone" and database_url.startswith("sqlite"):
                continue  # a file has no connections to lose
            calls = [Calls(node.url, key, first + place * CALLS) for place in range(len(POINTS))]
            with contextlib.ExitStack() as at_the_upstream:
                for point, each in zip(POINTS, calls, strict=True):
                    at_the_upstream.enter_context(each.waiting_at(point, upstream))
                _bring_about(ending, node, calls, upstream, settings)
            if ending not in ("client gone", "crash"):
                ends = {(answer.code, answer.whole) for each in calls for answer in each.answers}
                assert ends == {("", True)}, (ending, node.log)
            if node.process.code is not None:
                node.start()
            first += len(POINTS) * CALLS
    asyncio.run(_swept(settings))
    books = asyncio.run(books_of(settings.database))
    books.assert_settled()
    assert books.calls_by_number == dict.fromkeys(range(1, first), 1)
    assert upstream.count == len(books.calls)
    assert all(call.cost_usd_nanos > 0 for call in books.calls)
    record_property("figure", f"{len(books.calls)} calls, {len(ENDINGS)} endings at {len(POINTS)} points")


class Calls:
    """So many at once from a thread of their own, whose client can leave."""

    def __init__(self, url: str, key: str, first: int) -> None:
        self._load = Load([url], key, CALLS)
        self._numbers = range(first, first + CALLS)
        self._loop = asyncio.new_event_loop()

    @property
    def answers(self) -> list[Answer]:
        return self._load.answers

    @contextlib.contextmanager
    def waiting_at(self, point: int, waits: FakeUpstream) -> Iterator[None]:
        """In the block they are at the upstream, which waits; at its end the upstream goes on, and all have ended."""
        before = waits.calls()["waiting"]
        waits.behave(always={"gate_after": point})
        self._task = self._loop.create_task(self._load.run(self._numbers))
        calling = threading.Thread(target=lambda: self._loop.run_until_complete(asyncio.wait([self._task])))
        calling.start()
        waiting = before + (CALLS // 2 if point else CALLS)
        waits.until(lambda calls: calls["waiting"] == waiting)
        yield
        waits.open()
        calling.join()
        self._loop.close()

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)


def _bring_about(ending: str, node: EngineNode, calls: list[Calls], waits: FakeUpstream, settings: Settings) -> None:
    match ending:
        case "client gone":
            left = waits.calls()["left"] + len(calls) * CALLS // 2
            for each in calls:
                each.leave()
            waits.until(lambda seen: seen["left"] == left)  # who streams is heard to leave
        case "database gone":
            asyncio.run(_cut_connections(settings))
        case "SIGTERM":
            node.signal(signal.SIGTERM)
            waits.open()
            node.wait()
        case "crash":
            node.kill()


async def _cut_connections(settings: Settings) -> None:
    import asyncpg

    connection = await asyncpg.connect(settings.database)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def _swept(settings: Settings) -> None:
    database = Database(settings.database)
    await sweep(database)
    await database.close()
