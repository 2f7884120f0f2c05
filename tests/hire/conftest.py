"""One chain and one seller for all hires of a test run; a fresh funded wallet and an own node for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hire_world import BuyerNode, SellerProcess, Wallet, buyer_node, start_seller, usdc

from ledger.database import Database
from ledger.money import Asset
from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="session")
def chain_url(chain: ChainProcess) -> str:
    return chain.url


@pytest.fixture(scope="session")
def chain_info(chain: ChainProcess) -> dict[str, Any]:
    return chain.info()


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
    httpx.post(f"{chain_url}/faucet", json={"address": made.address, "usdc": "1"}, verify=False).raise_for_status()
    return made


@pytest.fixture
async def node(database: Database, chain_url: str, asset: Asset, wallet: Wallet) -> AsyncIterator[BuyerNode]:
    async with buyer_node(database, chain_url, asset, wallet) as opened:
        yield opened
