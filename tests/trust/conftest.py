"""Where the chain of the tests answers."""

from __future__ import annotations

import pytest

from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="session")
def chain_url(chain: ChainProcess) -> str:
    return chain.url
