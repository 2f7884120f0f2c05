"""The upstream, one process for all engine tests, told to behave before each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.database import Database
from tests.engine.world import World, built
from tests.upstream import FakeUpstream, run_upstream


@pytest.fixture(scope="session")
def upstream_process() -> Iterator[FakeUpstream]:
    with run_upstream() as running:
        yield running


@pytest.fixture
def upstream(upstream_process: FakeUpstream) -> FakeUpstream:
    upstream_process.reset()
    return upstream_process


@pytest.fixture
async def world(database: Database, upstream: FakeUpstream) -> AsyncIterator[World]:
    async with built(database, upstream.api) as made:
        yield made
