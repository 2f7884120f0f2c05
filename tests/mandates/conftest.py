"""A world of its own for each test of mandates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.database import Database
from mandates import Mandates
from tests.ledger.parts import SetClock
from tests.mandates.world import CHAIN_ID, InterruptedSpend, World
from trust.keys import NodeKeys


@pytest.fixture(scope="session")
def node_keys(tmp_path_factory: pytest.TempPathFactory) -> NodeKeys:
    """Opened once: deriving the key that seals them is slow by design."""
    return NodeKeys.open(tmp_path_factory.mktemp("keys"), "a password for tests")


@pytest.fixture
async def world(database: Database, node_keys: NodeKeys) -> AsyncIterator[World]:
    clock = SetClock()
    spend = InterruptedSpend(database, clock, "test")
    await spend.start()
    yield World(database, spend, clock, node_keys, Mandates(database, spend, clock, node_keys, CHAIN_ID))
    await spend.close()
