"""A facilitator on the chain that does to each payer's settlement what its fault says; what it settles, it settles."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
        facilitator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, {"kinds": [{"x402Version": 2, "scheme": "exact", "network": network}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                payer = body["paymentPayload"]["payload"]["authorization"]["from"].lower()
                facilitator.asked.append(payer)
                self._misbehave(facilitator.fault_of.get(payer, facilitator.fault), payer, body["paymentPayload"])

            def _misbehave(self, fault: str, payer: str, payload: dict[str, Any]) -> None:
                times = facilitator.asked.count(payer)
                if fault == LIES:
                    return self._said(payer, "")
                if fault == LIES_ABOUT_ANOTHERS:
                    return self._said(payer, facilitator.anothers)
                if fault == SILENT or (fault == HANGS_UP and times == 1):
                    self.close_connection = True
                    return None
                if fault == REFUSES_TWICE and times <= 2:
                    return self._answer(402, {"success": False, "errorReason": "payment required"})
                if fault == SLOW:
                    time.sleep(0.7)
                transaction = facilitator.settle(chain, payer, payload)
                if fault == HANGS:
                    time.sleep(3)
                if fault == SAYS_500:
                    return self._answer(500, {"error": "internal"})
                if fault in (HANGS, HANGS_UP_SETTLED):
                    self.close_connection = True
                    return None
                return self._said(payer, transaction)

            def _said(self, payer: str, transaction: str) -> None:
                said = {"success": True, "transaction": transaction, "network": network, "payer": payer}
                self._answer(200, said)

            def _answer(self, status: int, said: dict[str, Any]) -> None:
                content = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Who hung up on it is its own business."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def settle(self, chain: ChainProcess, payer: str, payload: dict[str, Any]) -> str:
        """Once a nonce, as the token itself would have it."""
        nonce = payload["payload"]["authorization"]["nonce"]
        with self._lock:
            if nonce not in self._settled:
                self._settled[nonce] = by_stranger(chain, payload)
            return self._settled[nonce]

    def __enter__(self) -> FaultyFacilitator:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
