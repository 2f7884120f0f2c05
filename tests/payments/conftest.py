"""One chain for all payment tests, and a gate of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from payments_world import World, opened

from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    process = ChainProcess(tmp_path_factory.mktemp("payments-chain"))
    yield process
    process.stop()


@pytest.fixture
async def world(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(chain, database, tmp_path) as made:
        yield made
