"""A chain for all tests of this folder that do not stop it, and folders for those that do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from devchain_process import ChainProcess


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    """One process that the tests share: each makes its own accounts, and none goes back to a snapshot."""
    process = ChainProcess(tmp_path_factory.mktemp("devchain"))
    yield process
    process.stop()
