"""A world of its own for each test of mandates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.database import Database
from mandates import Mandates
from tests.ledger.parts import SetClock
from tests.mandates.world import CHAIN_ID, InterruptedSpend, World
from tests.node_keys import node_keys


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    clock = SetClock()
    spend = InterruptedSpend(database, clock, "test")
    await spend.start()
    yield World(database, spend, clock, node_keys(), Mandates(database, spend, clock, node_keys(), CHAIN_ID))
    await spend.close()
