"""Promise 4: one payment buys one delivery, and a good payment is not burned by a bad try."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, payload_for, requirement, usdc

TEXT = "Which sentence counts? This one has the point. That one has less."


def for_task(payload: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """The same authorisation under another task's terms, as a cheat would send it."""
    return {**payload, "accepted": requirement(task)}


def test_the_same_payload_a_hundred_times_on_two_tasks_and_two_workers_buys_one(
    chain: ChainProcess, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In parallel, after a restart, and after its window has closed: one task is done, one price is paid."""
    folder = tmp_path / "seller"
    node = NodeProcess(folder, chain, workers=2)
    payer = chain.funded("1")
    tasks = [node.send(TEXT), node.send(TEXT)]
    closes = int(time.time()) + 40
    payload = payload_for(chain, payer, requirement(tasks[0]), valid_before=closes)
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda n: node.pay(tasks[n % 2], for_task(payload, tasks[n % 2])), range(100)))
    ended = [node.until(task["id"], "completed", "input-required") for task in tasks]
    assert sorted(task["status"]["state"] for task in ended) == ["completed", "input-required"]
    assert usdc(chain, payer.address) == 990_000
    record_property("figure", "100 submissions on 2 tasks and 2 workers made 1 transfer")
    node.stop()

    again = NodeProcess(folder, chain)
    try:
        loser = next(task for task in ended if task["status"]["state"] == "input-required")
        _refused_again(again, loser, payload, "DUPLICATE_NONCE")
        while time.time() < closes + 1:
            time.sleep(0.2)
        refused = again.pay(loser, for_task(payload, loser))
        assert refused["status"]["state"] == "input-required"
        assert refused["status"]["message"]["metadata"]["x402.payment.status"] == "payment-failed"
        assert usdc(chain, payer.address) == 990_000
        paid = again.pay(loser, payload_for(chain, payer, requirement(loser)))
        assert again.until(paid["id"], "completed")["id"] == loser["id"]
        assert usdc(chain, payer.address) == 980_000
    finally:
        again.stop()


def test_a_bad_try_does_not_burn_a_good_payment(chain: ChainProcess, tmp_path: Path) -> None:
    """A payload that was refused for what stood around it still pays once that is right."""
    node = NodeProcess(tmp_path / "seller", chain)
    try:
        payer, task = chain.funded("1"), node.send(TEXT)
        payload = payload_for(chain, payer, requirement(task))
        spoiled = copy.deepcopy(payload)
        spoiled["accepted"]["amount"] = "1"
        _refused_again(node, task, spoiled, "INVALID_AMOUNT")
        forged = copy.deepcopy(payload)
        forged["payload"]["signature"] = "0x" + "11" * 64 + "1b"
        _refused_again(node, task, forged, "INVALID_SIGNATURE")
        assert usdc(chain, payer.address) == 1_000_000
        assert node.until(node.pay(task, payload)["id"], "completed")
        assert usdc(chain, payer.address) == 990_000
    finally:
        node.stop()


def _refused_again(node: NodeProcess, task: dict[str, Any], payload: dict[str, Any], code: str) -> None:
    accepted = payload["accepted"] if payload["accepted"]["amount"] == "1" else requirement(task)
    refused = node.pay(task, {**payload, "accepted": accepted})
    assert refused["status"]["state"] == "input-required"
    assert refused["status"]["message"]["metadata"]["x402.payment.error"] == code
