"""The chain of these tests, one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devchain.devchain_process import ChainProcess


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    process = ChainProcess(tmp_path_factory.mktemp("sell-chain"))
    yield process
    process.stop()
