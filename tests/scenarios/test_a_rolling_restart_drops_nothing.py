"""Two nodes on one database, each stopped and started again in turn under load: every request is answered."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnode.settings import Settings
from tests.rounds import LONG, rounds
from tests.scenarios.engine_load import Answer, Load
from tests.scenarios.engine_node import EngineNode, free_port, new_key, reading, running, settings_of, upstream_at
from tests.upstream import FakeUpstream, FaultScript, Phase, run_upstream

CONNECTIONS = 60
PAUSE_S = 0.15
"""Most connections are idle at any time, and may be sent to just when the node closes them."""
pytestmark = [pytest.mark.database] if LONG else []


@pytest.fixture
def slow_upstream() -> Iterator[FakeUpstream]:
    with run_upstream(script=FaultScript(1, "slow", (Phase(delay_s=0.05),))) as started:
        yield started


@pytest.mark.parametrize("workers", [1, 2] if LONG else [1])
def test_two_nodes_that_are_restarted_in_turn_drop_no_request(
    tmp_path: Path, database_url: str, slow_upstream: FakeUpstream, workers: int
) -> None:
    """The client goes to the other node where a connection is refused, and only there: whoever was connected is
    answered, streams come to their end, and each answer is one call and one event."""
    settings = [
        settings_of(
            *(tmp_path, [upstream_at("slow", slow_upstream.api)]),
            database_url=database_url,
            port=free_port(),
            workers=workers,
        )
        for _ in range(2)
    ]
    key = new_key(settings[0])
    with running(settings[0]) as one, running(settings[1]) as other:
        answers, refused = _under_load([one, other], key, rounds(1))
    ends = Counter((answer.status, answer.code, answer.whole) for answer in answers)
    assert ends == {(200, "", True): len(answers)}, (ends, one.log[-2_000:])
    assert refused, "no node was away while it was asked"
    [[booked, held]] = asyncio.run(_booked(settings[0]))
    assert (booked, held) == (len(answers), 0) == (slow_upstream.count, 0)


def _under_load(nodes: list[EngineNode], key: str, times: int) -> tuple[list[Answer], int]:
    """Restarts each of them so often, while the clients go on."""
    load, going = Load([node.url for node in nodes], key, CONNECTIONS, pause_s=PAUSE_S), threading.Event()
    numbers = itertools.takewhile(lambda _: not going.is_set(), itertools.count(1))
    client = threading.Thread(target=lambda: asyncio.run(load.run(numbers)))
    client.start()
    try:
        for node in [*nodes] * times:
            assert node.stop() == 0, node.log[-2_000:]
            node.start()
    finally:
        going.set()
        client.join()
    return load.answers, load.refused


async def _booked(settings: Settings) -> list[Any]:
    async with reading(settings.database) as rows:
        return await rows(
            "SELECT (SELECT count(*) FROM economic_events WHERE kind = 'engine_call'),"
            " (SELECT count(*) FROM holds WHERE state = 'held')"
        )
