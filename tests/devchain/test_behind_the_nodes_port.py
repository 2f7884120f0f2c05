"""The embedded chain behind the node's own port answers programs of this machine, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from agentnode.api import devchain, errors
from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    process = ChainProcess(tmp_path_factory.mktemp("chain"))
    yield process
    process.stop()


async def asked(chain: ChainProcess, host: str, caller: str) -> int:
    app = FastAPI()
    errors.install(app)
    app.include_router(devchain.router(chain.url))
    transport = httpx.ASGITransport(app, client=(caller, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
        return (await http.get("/devchain/info", headers={"host": host})).status_code


@pytest.mark.parametrize("host", ["127.0.0.1:8402", "localhost:8402", "localhost", "[::1]:8402"])
async def test_this_machine_is_answered(chain: ChainProcess, host: str) -> None:
    """Under each name that it has for itself."""
    assert await asked(chain, host, "127.0.0.1") == 200


@pytest.mark.parametrize(
    "host", ["rebound.example:8402", "127.0.0.1.example", "10.0.0.1", "[::1", "", "localhost@evil"]
)
async def test_a_page_whose_name_was_made_to_lead_here_is_not(chain: ChainProcess, host: str) -> None:
    """DNS rebinding: the caller is this machine's browser, the host is the page's own name."""
    assert await asked(chain, host, "127.0.0.1") == 404


@pytest.mark.parametrize("caller", ["10.0.0.1", "testclient", "", "::2"])
async def test_callers_from_elsewhere_and_without_an_address_are_not(chain: ChainProcess, caller: str) -> None:
    """NOT_FOUND, as if it were not there."""
    assert await asked(chain, "127.0.0.1", caller) == 404
