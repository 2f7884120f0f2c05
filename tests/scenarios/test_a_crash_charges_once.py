"""kill -9 of the seller at points of its journal: the task reaches its end, the payer is charged once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.devchain.devchain_process import ChainProcess
from tests.rounds import LONG
from tests.scenarios.node_process import NodeProcess, payload_for, requirement, usdc

POINTS = ["signed", "receipted"] if LONG else ["signed"]
"""The others are in tests/payments/test_crash_matrix.py, without the whole node."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seller's folder for all points: a journal with a past is the harder case."""
    return tmp_path_factory.mktemp("seller")


@pytest.mark.parametrize("point", POINTS)
def test_a_seller_killed_at_a_point_delivers_after_its_restart_and_charges_once(
    chain: ChainProcess, folder: Path, point: str
) -> None:
    """The chain lived on; the journal is walked, the world is asked, and the task is completed for one price."""
    node = NodeProcess(folder, chain, crash_at=point)
    payer = chain.funded("1")
    task = node.send("Which sentence counts? This one has the point. That one has less.")
    payload = payload_for(chain, payer, requirement(task))
    with pytest.raises(httpx.HTTPError):
        node.pay(task, payload)
    assert node.wait() == -9, "it was not killed at its point"
    # Blocks are mined while nobody is home: the same state must be found by asking, not by waiting.
    chain.rpc("evm_mine")

    again = NodeProcess(folder, chain)
    try:
        ended = again.until(task["id"], "completed", "failed")
        assert ended["status"]["state"] == "completed", ended["status"]
        assert usdc(chain, payer.address) == 990_000
        assert again.pay(task, payload)["status"]["state"] == "completed"
        assert usdc(chain, payer.address) == 990_000
        receipts = ended["status"]["message"]["metadata"]["x402.payment.receipts"]
        assert [receipt["success"] for receipt in receipts] == [True]
    finally:
        again.stop()
    with sqlite3.connect(folder / "agentnode.db") as database:
        revenue = database.execute(
            "SELECT COUNT(*), SUM(revenue_usd_nanos) FROM economic_events WHERE task_id = ? AND revenue_usd_nanos > 0",
            [task["id"]],
        ).fetchone()
    assert revenue == (1, 10_000_000)
