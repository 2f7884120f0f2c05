"""Promise 3: one purchase is paid once, though the answer is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.devchain.devchain_process import ChainProcess
from tests.payments.faulty_facilitator import SETTLING, UNSETTLING, FaultyFacilitator
from tests.rounds import LONG, rounds
from tests.scenarios.node_process import NodeProcess, payload_for, requirement, usdc

TEXT = "Which sentence counts? This one has the point. That one has less."
RETRIES = 3


class Purchase:
    """One task, one payload, and every answer that the client got."""

    def __init__(self, node: NodeProcess, chain: ChainProcess, facilitator: FaultyFacilitator, fault: str) -> None:
        self.fault = fault
        self.payer = chain.funded("1")
        facilitator.fault_of[self.payer.address.lower()] = fault
        self.task = node.send(TEXT)
        window_s = 8 if fault in UNSETTLING else 120
        asked = requirement(self.task)
        self.payload = payload_for(chain, self.payer, asked, valid_before=int(time.time()) + window_s)
        self.answers: list[dict[str, Any]] = []
        self._chain = chain

    def send(self, node: NodeProcess) -> None:
        """Pay, and again with the same payload, as clients do whose answers get lost. A dead node says nothing."""
        for _ in range(RETRIES):
            try:
                self.answers.append(node.pay(self.task, self.payload))
            except Exception:
                return
            time.sleep(0.2)

    @property
    def transfers(self) -> int:
        return (1_000_000 - usdc(self._chain, self.payer.address)) // 10_000


@pytest.mark.parametrize("restart", [False, True] if LONG else [True], ids=lambda restart: "killed" if restart else "")
def test_whatever_the_facilitator_does_a_purchase_is_paid_once(
    chain: ChainProcess, tmp_path: Path, restart: bool, record_property: Callable[[str, object], None]
) -> None:
    """Each fault, with retries, over a restart: at most one transfer, and its work; no refusal while unknown."""
    with FaultyFacilitator(chain) as facilitator:
        folder = tmp_path / "seller"
        settings = {"facilitators": [{"url": facilitator.url}], "facilitator_timeout_s": 1, "settle_timeout_s": 0.5}
        node = NodeProcess(folder, chain, **settings)
        faults = [fault for fault in (*SETTLING, *UNSETTLING) for _ in range(rounds(1))]
        purchases = [Purchase(node, chain, facilitator, fault) for fault in faults]
        facilitator.anothers = chain.rpc("eth_getBlockByNumber", "latest", False)["result"]["transactions"][-1]
        with ThreadPoolExecutor(len(purchases)) as threads:
            sent = [threads.submit(purchase.send, node) for purchase in purchases]
            if restart:
                while len(facilitator.asked) < len(purchases) // 2:
                    time.sleep(0.01)
                node.kill()
            for one in sent:
                one.result()
        if restart:
            node = NodeProcess(folder, chain, **settings)
            for purchase in purchases:
                purchase.send(node)
        try:
            for purchase in purchases:
                assert_no_refusal_while_unknown(purchase)
                ends = "completed" if purchase.fault in SETTLING else "input-required"
                ended = node.until(purchase.task["id"], ends)
                assert purchase.transfers == (1 if purchase.fault in SETTLING else 0), purchase.fault
                if ends == "completed":
                    [receipt] = ended["status"]["message"]["metadata"]["x402.payment.receipts"]
                    assert receipt["success"], purchase.fault
            record_property("figure", f"{len(purchases)} purchases, none paid twice")
        finally:
            node.stop()


def assert_no_refusal_while_unknown(purchase: Purchase) -> None:
    """What it was told meanwhile: settled, at work, or pending. Never that it should pay anew."""
    for answer in purchase.answers:
        if "error" in answer:
            assert "SETTLEMENT_PENDING" in str(answer["error"]), (purchase.fault, answer)
        else:
            status = answer["status"]
            failed = "payment-failed" in str(status.get("message", {}).get("metadata", {}))
            unsettled = purchase.fault in UNSETTLING and time.time() > int(
                purchase.payload["payload"]["authorization"]["validBefore"]
            )
            assert status["state"] in ("working", "completed") or unsettled, (purchase.fault, status, failed)
