"""An engine before the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.database import Database
from tests.engine.world import World, built
from tests.upstream import FakeUpstream


@pytest.fixture
async def world(database: Database, upstream: FakeUpstream) -> AsyncIterator[World]:
    async with built(database, upstream.api) as made:
        yield made
