"""A node with no chain, built as it is run, and asked over ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_node import ApiNode, running

from agentnode.settings import load


@pytest.fixture
async def node(database_url: str, tmp_path: Path) -> AsyncIterator[ApiNode]:
    async with running(load({}, data=tmp_path, chain="none", database_url=database_url)) as made:
        yield made
