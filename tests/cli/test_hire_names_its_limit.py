"""`agentnode hire --bazaar`: what a stranger's Bazaar says is a price, never a limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.answering import Answer, answering
from tests.forked import ran

NOBODY = "http://127.0.0.1:1"
LISTING = {"id": "lst_1", "agent_card_url": NOBODY, "price_per_call_usd": 900, "price_per_call_usd_exact": "900"}


@pytest.fixture
def bazaar() -> Iterator[str]:
    """A Bazaar with one dear listing; below `/odd` something else answers."""

    def discover(path: str, body: bytes) -> Answer:
        return 200, {"resources": "none" if path.startswith("/odd/") else [LISTING], "next_cursor": None}

    with answering(discover) as url:
        yield url


def hire(bazaar: str, *more: str) -> CompletedProcess[str]:
    """At a node that is not there: what gets so far would have been paid."""
    environment = {**os.environ, "P402_BASE_URL": NOBODY, "P402_API_KEY": "p402_live_none"}
    return ran("agentnode.cli", "hire", "the work", "--bazaar", bazaar, *more, environment=environment)


def test_without_a_limit_the_price_is_shown_and_nothing_is_hired(bazaar: str) -> None:
    """The sentence names the option."""
    refused = hire(bazaar)
    assert refused.returncode == 1
    assert "--max-price" in refused.stderr and "900 USD" in refused.stderr


def test_with_a_limit_the_node_is_asked_to_hire(bazaar: str) -> None:
    """Which holds the seller's price against it."""
    assert "NODE_SILENT" in hire(bazaar, "--max-price", "1000").stderr


def test_what_is_no_bazaar_is_said_in_one_sentence(bazaar: str) -> None:
    assert hire(f"{bazaar}/odd").stderr.startswith("✗ BAZAAR_SILENT: ")
