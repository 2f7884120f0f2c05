"""`agentnode hire --bazaar`: what a stranger's Bazaar says is a price, never a limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

NOBODY = "http://127.0.0.1:1"
LISTING = {"id": "lst_1", "agent_card_url": NOBODY, "price_per_call_usd": 900, "price_per_call_usd_exact": "900"}


@pytest.fixture
def bazaar() -> Iterator[str]:
    """A Bazaar with one dear listing; below `/odd` something else answers."""

    class Discover(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            listings: object = "none" if self.path.startswith("/odd/") else [LISTING]
            self.wfile.write(json.dumps({"resources": listings, "next_cursor": None}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Discover)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def hire(bazaar: str, *more: str) -> subprocess.CompletedProcess[str]:
    """At a node that is not there: what gets so far would have been paid."""
    environment = {**os.environ, "P402_BASE_URL": NOBODY, "P402_API_KEY": "p402_live_none"}
    command = [sys.executable, "-m", "agentnode.cli", "hire", "the work", "--bazaar", bazaar, *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


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
