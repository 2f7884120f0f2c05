"""A node with no chain, built as it is run, and asked over ASGI; keys for it are made as the operator makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_node import ApiNode

from agentnode.app import build
from agentnode.cli.local import accounts, policies
from agentnode.settings import load


@pytest.fixture
async def node(database_url: str, tmp_path: Path) -> AsyncIterator[ApiNode]:
    settings = load({}, data=tmp_path, chain="none", database_url=database_url)
    app = await build(settings)
    async with app.router.lifespan_context(app), accounts(settings) as own, policies(settings) as framed:
        yield ApiNode(app, own, framed)
