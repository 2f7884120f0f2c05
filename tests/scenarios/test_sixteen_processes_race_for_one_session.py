"""Sixteen client processes, one session, two workers, and an upstream that is late, lies, hangs up and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.forked import Program
from tests.rounds import LONG, rounds
from tests.scenarios.engine_books import SAMPLED, books_of
from tests.scenarios.engine_node import api, new_key, reading, running, settings_of, upstream_at
from tests.upstream import FakeUpstream, FaultScript, Phase, run_upstream

CLIENTS = 16
REQUESTS = rounds(20)
CAP_USD = 0.002 if not LONG else 0.01
"""About half of what all the calls would cost."""
SCRIPT = FaultScript(4, "bad", (Phase(error=0.1, busy=0.03, drop=0.05, cut=0.1, lie=0.1, dear=0.1, delay_s=0.05),), "0")
pytestmark = [pytest.mark.database] if LONG else []


@pytest.fixture
def bad_upstream() -> Iterator[FakeUpstream]:
    with run_upstream(script=SCRIPT) as started:
        yield started


def test_a_race_for_one_session_never_passes_its_cap_and_sums_to_the_nano(
    tmp_path: Path, database_url: str, bad_upstream: FakeUpstream, record_property: Callable[[str, object], None]
) -> None:
    """At every instant that was looked at, captured and held are within the cap; after the drain nothing is held, and
    spent is the sum of what the events say was charged, each upstream call being one of them."""
    settings = settings_of(
        *(tmp_path, [upstream_at("bad", bad_upstream.api)]),
        database_url=database_url,
        workers=2,
        upstream_first_byte_s=5,
    )
    key = new_key(settings)
    cap_usd_nanos = round(CAP_USD * 10**9)
    with running(settings) as node:
        with api(node.url, key) as client:
            session_id = client.post("/sessions", json={"budget_usd": CAP_USD}).json()["id"]
        with _sampled(settings.database) as samples:
            ends = _race(node.url, key, session_id)
    books = asyncio.run(books_of(settings.database))

    assert max(samples) <= cap_usd_nanos
    assert len(samples) > 10
    books.assert_settled()
    session = books.budgets[f"session:{session_id}"]
    assert session.spent_usd_nanos == sum(event.cost_usd_nanos for event in books.events if event.session_id)
    assert session.spent_usd_nanos > cap_usd_nanos / 4
    assert books.calls_by_number == {number: len(kinds) for number, kinds in bad_upstream.asked().items()}
    assert sum(ends.values()) == CLIENTS * REQUESTS
    assert ends["whole"] and ends["SESSION_BUDGET_EXCEEDED"], ends
    assert any(call.output_tokens == 100 for call in books.calls), "nothing was billed above what was allowed"
    unexpected = [code for code in ends if code != "whole" and code not in EXPECTED]
    assert not unexpected, (ends, node.log[-2_000:])
    record_property("figure", f"{sum(ends.values())} requests, {len(books.calls)} calls, {len(samples)} samples")


EXPECTED = {"SESSION_BUDGET_EXCEEDED", "UPSTREAM_ERROR", "UPSTREAM_BUSY", "UPSTREAM_CUT", "UPSTREAMS_SHUT"}


def _race(url: str, key: str, session_id: str) -> Counter[str]:
    """All at once; one of the clients leaves the length of the answer to what the session affords."""
    clients = []
    for place in range(CLIENTS):
        orders = {"urls": [url], "key": key, "connections": 4, "first": 1 + place * REQUESTS, "count": REQUESTS}
        orders["more"] = {"p402": {"session_id": session_id}, **({} if place else {"max_tokens": None})}
        clients.append(Program("tests.scenarios.engine_load"))
        clients[-1].tell(json.dumps(orders))
    for client in clients:
        assert client.stdout.readline() == "ready\n"
    for client in clients:
        client.tell("go")
    ends: Counter[str] = Counter()
    for client in clients:
        ends += Counter(json.loads(client.stdout.readline()))
    return ends


@contextlib.contextmanager
def _sampled(database_url: str) -> Iterator[list[int]]:
    """What the holds' rows add up to, as often as they can be read."""
    samples: list[int] = []
    over = threading.Event()

    async def sample() -> None:
        async with reading(database_url) as rows:
            while not over.is_set():
                [[total]] = await rows(SAMPLED)
                samples.append(int(total))

    sampling = threading.Thread(target=lambda: asyncio.run(sample()))
    sampling.start()
    try:
        yield samples
    finally:
        over.set()
        sampling.join()
