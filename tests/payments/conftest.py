"""One chain for all payment tests, and a gate of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from paid_http import Buyer
from payments_world import World, opened

from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.engine_node import upstream_at
from tests.scenarios.node_process import NodeProcess
from tests.upstream import FakeUpstream, run_upstream


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeUpstream]:
    with run_upstream() as running:
        yield running


@pytest.fixture(scope="session")
def node(chain: ChainProcess, fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A seller whose model `m1` is the fake upstream's."""
    folder, upstreams = tmp_path_factory.mktemp("sells-over-http") / "seller", [upstream_at("mock", fake.api)]
    running = NodeProcess(folder, chain, upstreams=upstreams, least_payment_usd="0.01")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def failing(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A seller whose skill `fragile` breaks where it is told to."""
    folder = tmp_path_factory.mktemp("fails")
    skills = folder / "fragile.py"
    skills.write_text(
        "from agentnode.sell import skill\n\n\n"
        '@skill(price="0.01", description="Breaks, or works")\n'
        "async def fragile(text: str) -> str:\n"
        '    if text == "break":\n        raise RuntimeError\n    return "done"\n'
    )
    running = NodeProcess(folder / "seller", chain, skills=[str(skills)])
    yield running
    running.stop()


@pytest.fixture
def buyer(node: NodeProcess, chain: ChainProcess) -> Buyer:
    return Buyer(node.http, chain, chain.funded("1"))


@pytest.fixture
async def world(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(chain, database, tmp_path) as made:
        yield made
