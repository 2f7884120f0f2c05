"""A facilitator on the chain that does to each payer's settlement what its fault says; what it settles, it settles."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from tests.answering import Answer, answering
from tests.devchain.devchain_process import ChainProcess
from tests.payments.strangers import by_stranger

CLEAN, SLOW, SAYS_500, HANGS, REFUSES_TWICE, HANGS_UP, HANGS_UP_SETTLED = (
    *("clean", "slow", "5xx after settling", "accepted then timed out", "402 twice"),
    *("down while asked", "down while asked, and settled"),
)
SILENT, LIES, LIES_ABOUT_ANOTHERS = (
    "never settles",
    "success without a transaction",
    "success with another's transaction",
)
SETTLING = (CLEAN, SLOW, SAYS_500, HANGS, REFUSES_TWICE, HANGS_UP, HANGS_UP_SETTLED)
UNSETTLING = (SILENT, LIES, LIES_ABOUT_ANOTHERS)


class FaultyFacilitator:
    """Use as a context manager; `.url`. `fault_of[payer]` says what becomes of that payer's, `fault` of the others'."""

    def __init__(self, chain: ChainProcess, network: str = "eip155:31337") -> None:
        self.fault_of: dict[str, str] = {}
        self.fault = CLEAN
        self.asked: list[str] = []
        """The payer of each `POST /settle`."""
        self.anothers = ""
        """A transaction of somebody else's."""
        self._settled: dict[str, str] = {}
        self._lock = threading.Lock()
        self._chain, self._network = chain, network
        self._answering = answering(self._say)

    def _say(self, path: str, body: bytes) -> Answer:
        if not body:
            return 200, {"kinds": [{"x402Version": 2, "scheme": "exact", "network": self._network}]}
        payload = json.loads(body)["paymentPayload"]
        payer = payload["payload"]["authorization"]["from"].lower()
        self.asked.append(payer)
        return self._misbehave(self.fault_of.get(payer, self.fault), payer, payload)

    def _misbehave(self, fault: str, payer: str, payload: dict[str, Any]) -> Answer:
        times = self.asked.count(payer)
        if fault in (LIES, LIES_ABOUT_ANOTHERS):
            return self._settled_by(payer, "" if fault == LIES else self.anothers)
        if fault == SILENT or (fault == HANGS_UP and times == 1):
            return None
        if fault == REFUSES_TWICE and times <= 2:
            return 402, {"success": False, "errorReason": "payment required"}
        if fault == SLOW:
            time.sleep(0.7)
        transaction = self.settle(self._chain, payer, payload)
        if fault == HANGS:
            time.sleep(3)
        if fault == SAYS_500:
            return 500, {"error": "internal"}
        return None if fault in (HANGS, HANGS_UP_SETTLED) else self._settled_by(payer, transaction)

    def _settled_by(self, payer: str, transaction: str) -> Answer:
        return 200, {"success": True, "transaction": transaction, "network": self._network, "payer": payer}

    def settle(self, chain: ChainProcess, payer: str, payload: dict[str, Any]) -> str:
        """Once a nonce, as the token itself would have it."""
        nonce = payload["payload"]["authorization"]["nonce"]
        with self._lock:
            if nonce not in self._settled:
                self._settled[nonce] = by_stranger(chain, payload)
            return self._settled[nonce]

    def __enter__(self) -> FaultyFacilitator:
        self.url = self._answering.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._answering.__exit__(*raised)
