"""One chain and one seller for all hires of a test run; a fresh funded wallet and an own node for each test."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hire_world import BuyerNode, SellerProcess, Wallet, buyer_node, start_seller, usdc

from ledger.database import Database
from ledger.money import Asset


@pytest.fixture(scope="session")
def chain_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("chain")
    process = subprocess.Popen(
        [sys.executable, "-m", "agentnode.devchain", "--parent-pipe", "--port", "0", "--data", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    word, _, url = process.stdout.readline().strip().partition(" ")
    assert word == "ready", "the chain did not start"
    yield url
    process.stdin.close()
    process.wait(20)


@pytest.fixture(scope="session")
def chain_info(chain_url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{chain_url}/info", trust_env=False).json())


@pytest.fixture(scope="session")
def asset(chain_info: dict[str, Any]) -> Asset:
    return usdc(chain_info)


@pytest.fixture(scope="session")
def seller(chain_url: str, asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SellerProcess]:
    started = start_seller(chain_url, asset.address, tmp_path_factory.mktemp("seller"))
    yield started
    started.stop()


@pytest.fixture
def wallet(chain_url: str) -> Wallet:
    """A wallet of its own with one USDC."""
    made = Wallet("0x" + secrets.token_hex(32))
    httpx.post(f"{chain_url}/faucet", json={"address": made.address, "usdc": "1"}, trust_env=False).raise_for_status()
    return made


@pytest.fixture
async def node(
    database: Database, tmp_path: Path, chain_url: str, asset: Asset, wallet: Wallet
) -> AsyncIterator[BuyerNode]:
    async with buyer_node(database, tmp_path / "keys", chain_url, asset, wallet) as opened:
        yield opened
