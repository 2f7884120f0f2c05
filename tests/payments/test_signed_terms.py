"""x402's offer-receipt: a price that is asked and work that was delivered are signed, and a buyer keeps the proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paid_http import CHAT, Buyer, chat, decoded
from test_offers_read import ASKED

from agentnode.cli.local import NodeClient, own_key
from agentnode.evidence import bundle as bundles
from agentnode.evidence.verify import verify
from agentnode.payments import HttpGate
from ledger.clock import SystemClock
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.furnished import new_wallet
from tests.scenarios.node_process import NodeProcess
from tests.upstream import FakeUpstream
from trust.signatures import jws


def said(document: dict[str, Any]) -> dict[str, Any] | None:
    """What the extension says in an x402 object."""
    return (document.get("extensions") or {}).get("offer-receipt", {}).get("info")


def test_the_price_that_is_asked_is_signed(buyer: Buyer) -> None:
    """By a key that the node publishes, over the terms of the entry that a payer would accept."""
    asked = buyer.http.post(CHAT, json=chat())
    accepts = buyer.accepts(asked)
    (offer,) = said(decoded(asked, "payment-required"))["offers"]  # type: ignore[index]
    signed = jws.verify(offer["signature"], jwks=buyer.http.get("/.well-known/jwks.json").json())
    assert signed.pop("version") == 1
    assert signed.pop("validUntil") == accepts["extra"]["expiresAt"]
    assert signed.pop("resourceUrl") == asked.json()["resource"]["url"]
    assert signed == {name: accepts[name] for name in ("scheme", "network", "asset", "payTo", "amount")}
    assert asked.json()["accepts"][offer["acceptIndex"]] == accepts


def test_work_that_was_delivered_is_receipted_and_work_that_failed_is_not(buyer: Buyer, fake: FakeUpstream) -> None:
    body = chat("signed", model="m1")
    payload = buyer.payload(buyer.price(body))
    fake.behave(always={"status": 500})
    failed = buyer.pay(body, payload)
    fake.reset()
    assert failed.status_code >= 500
    assert said(decoded(failed, "payment-response")) is None
    answer = buyer.pay(body, payload)
    settled = decoded(answer, "payment-response")
    receipt = said(settled)["receipt"]  # type: ignore[index]
    signed = jws.verify(receipt["signature"], jwks=buyer.http.get("/.well-known/jwks.json").json())
    assert signed["payer"] == buyer.account.address.lower()
    assert signed["transaction"] == settled["transaction"]
    assert signed["resourceUrl"].endswith(CHAT)


def test_what_is_not_wanted_is_not_declared() -> None:
    class Asks:
        def new(self, offer: Any, now_us: int) -> Any:
            return ASKED

        def declared(self, resource: str) -> dict[str, Any]:
            return {}

    asks: Any = Asks()
    offer: Any = ASKED
    assert "offer-receipt" not in HttpGate(asks, asks, asks, asks, asks, SystemClock(), None).needed(offer).extensions


@pytest.fixture
def hiring(chain: ChainProcess, tmp_path: Path) -> Iterator[NodeClient]:
    """A buyer's node, its wallet funded."""
    node = NodeProcess(tmp_path / "buyer", chain)
    wallet = new_wallet(node.settings.data, "default")
    chain.http.post("/faucet", json={"address": wallet, "usdc": "1"}).raise_for_status()
    with own_key(node.settings) as key:
        yield NodeClient(node.url, key)
    node.stop()


def test_the_buyer_keeps_what_the_seller_signed_and_a_stranger_can_check_it(
    hiring: NodeClient, node: NodeProcess
) -> None:
    """Offer and delivery stand in the call and in its bundle; what the metered work came to was recomputed."""
    wanted = {"http": {"url": node.url + CHAT, "json": chat("prove it")}, "max_price": "0.02"}
    bought = hiring.call("POST", "/api/v2/bazaar/call", wanted)
    assert (bought["status"], bought["payment"]["status"]) == ("completed", "settled")
    assert bought["payment"]["signed_offer"]["format"] == bought["payment"]["signed_delivery"]["format"] == "jws"
    assert bought["payment"]["receipt_verified"]
    assert 0 < bought["task"]["charge"]["cost_usd"] < bought["payment"]["amount_usd"]
    bundle = bundles.read(hiring.call("GET", f"/api/v2/evidence/calls/{bought['call_id']}").encode())
    assert {"offer", "delivery", "receipt"} <= {line.kind for line in bundle.lines}
    assert all(check.ok for check in verify(bundle)), [vars(check) for check in verify(bundle) if not check.ok]
