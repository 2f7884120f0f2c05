"""The first story: an agent hires another under a mandate, and both sides can prove afterwards what happened."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from agentnode.cli.local import NodeClient, keystore, own_key
from agentnode.cli.mandate import sign_mandate
from agentnode.evidence import bundle as bundles
from agentnode.evidence.verify import verify
from agentnode.settings import load
from ledger.clock import SystemClock
from tests.devchain.devchain_process import ChainProcess
from tests.forked import ran
from tests.node_keys import node_keys
from tests.scenarios.furnished import new_wallet
from tests.scenarios.node_process import NodeProcess, usdc

TEXT = "Which sentence counts? This one has the point. That one has less."


@dataclass
class Story:
    chain: ChainProcess
    result: dict[str, Any]
    mandate: dict[str, Any]
    moved: tuple[int, int]
    proof: Path
    seller_proof: Path
    refused: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def story(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One hire for all tests: seller and buyer are processes, the chain is a third."""
    folder = tmp_path_factory.mktemp("hire")
    seller, buyer = NodeProcess(folder / "seller", chain), NodeProcess(folder / "buyer", chain)
    selling, buying = (load({}, data=folder / side, chain=chain.url) for side in ("seller", "buyer"))
    with own_key(selling) as seller_key, own_key(buying) as buyer_key:
        at_seller, at_buyer = NodeClient(seller.url, seller_key), NodeClient(buyer.url, buyer_key)
        pay_to = str(keystore(selling).address("node"))
        listed = {"agent_card_url": seller.url, "name": "Ask", "description": "Answers.", "skill": "ask"}
        listing = at_seller.call(
            "POST", "/api/v2/bazaar/listings", {**listed, "price_per_call_usd": "0.01", "pay_to": pay_to}
        )
        wallets = keystore(buying)
        wallet, _ = (new_wallet(buying.data, name) for name in ("default", "grantor"))
        chain.http.post("/faucet", json={"address": wallet, "usdc": "1"}).raise_for_status()
        mandate = _mandate(at_buyer, wallets, allowed_payees=[pay_to])
        before = usdc(chain, wallet), usdc(chain, pay_to)
        body = {"listing": listing, "message": TEXT, "mandate_id": mandate["id"], "max_price": "0.02"}
        result = at_buyer.call("POST", "/api/v2/bazaar/call", body)
        after = usdc(chain, wallet), usdc(chain, pay_to)
        refused = {name: _refused(at_buyer, wallets, body, **limits) for name, limits in REFUSALS.items()}
        assert (usdc(chain, wallet), usdc(chain, pay_to)) == after, "a refused hire moved money"
        spent = at_buyer.call("GET", f"/api/a2a/mandates/{mandate['id']}")["mandate"]
        proof, seller_proof = folder / "proof.ndjson", folder / "seller.ndjson"
        proof.write_text(at_buyer.call("GET", f"/api/v2/evidence/calls/{result['call_id']}"))
        seller_proof.write_text(at_seller.call("GET", f"/api/v2/evidence/tasks/{result['task']['id']}"))
    moved = (after[0] - before[0], after[1] - before[1])
    yield Story(chain, result, spent, moved, proof, seller_proof, refused)
    for process in (seller, buyer):
        process.stop()


REFUSALS: dict[str, dict[str, Any]] = {
    "BUDGET_EXCEEDED": {"max_amount_usd": "0.009"},
    "CATEGORY_NOT_ALLOWED": {"allowed_categories": ["travel"]},
    "PAYEE_NOT_ALLOWED": {"allowed_payees": ["0x000000000000000000000000000000000000dead"]},
    "AGENT_NOT_ALLOWED": {"agent": "another"},
    "MANDATE_REVOKED": {"revoke": True},
}


def _mandate(client: NodeClient, wallets: Any, agent: str = "default", **limits: Any) -> dict[str, Any]:
    wanted = {"max_amount_usd": "0.05", "allowed_categories": ["agent_hire"], "valid_until": 4_000_000_000, **limits}
    return sign_mandate(client, wallets, 31337, "grantor", agent, wanted)


def _refused(client: NodeClient, wallets: Any, body: dict[str, Any], **limits: Any) -> dict[str, Any]:
    revoke = limits.pop("revoke", False)
    mandate = _mandate(client, wallets, **limits)
    if revoke:
        client.call("POST", f"/api/a2a/mandates/{mandate['id']}/revoke", {})
    answer = client._http.post("/api/v2/bazaar/call", json={**body, "mandate_id": mandate["id"]})
    after = client.call("GET", f"/api/a2a/mandates/{mandate['id']}")["mandate"]
    return {"status": answer.status_code, **answer.json(), "spent": after["amount_spent_usd_exact"]}


def test_the_buyer_pays_exactly_the_price_and_the_mandate_has_exactly_that_spent(story: Story) -> None:
    """Balances, the hire's answer and the mandate agree to the atomic unit."""
    assert story.moved == (-10_000, 10_000)
    assert story.result["status"] == "completed"
    assert story.mandate["amount_spent_usd_exact"] == "0.01"


def test_each_side_has_one_economic_event_for_it(story: Story) -> None:
    """A cost at the buyer, a revenue at the seller, both of the price."""
    for path, member in ((story.proof, "cost_usd_nanos"), (story.seller_proof, "revenue_usd_nanos")):
        events = [line.object["event"] for line in bundles.read(path.read_bytes()).of("event")]
        assert [event[member] for event in events] == ["10000000"]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_mandate_that_does_not_allow_it_refuses_before_anything_is_signed(story: Story, code: str) -> None:
    """Each broken rule has its own code; nothing is spent, nothing moves."""
    refused = story.refused[code]
    assert (refused["status"], refused["error"]["code"], refused["spent"]) == (403, code, "0")


def test_a_stranger_can_check_the_bundle_offline_and_on_the_chain(story: Story) -> None:
    """`agentnode verify` re-derives transaction, log, amount, receipt and mandate, and says which of the two it did."""
    offline = _verify(story.proof)
    assert offline.returncode == 0, offline.stdout
    assert "its issuer offered the very price that was paid" in offline.stdout
    assert "was not asked" in offline.stdout
    online = _verify(story.proof, "--rpc", story.chain.url)
    assert online.returncode == 0, online.stdout
    assert "the chain has this transaction" in online.stdout
    assert _verify(story.seller_proof, "--rpc", story.chain.url).returncode == 0


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("transaction", rb'"raw":"0x(..)'),
        ("transaction", rb'"data":"0x0{58}(..)'),
        ("payment", rb'"amount_atomic":"(.)'),
        ("receipt", rb'"jws":"[^"]{300}(.)'),
        ("mandate", rb'"signature":"0x(.)'),
        ("mandate_use", rb'"token":"[^"]{200}(.)'),
        ("event", rb'"cost_usd_nanos":"(.)'),
        ("signature", rb'"jws":"[^"]{100}(.)'),
    ],
)
def test_a_flipped_byte_is_found_and_named(story: Story, tmp_path: Path, kind: str, pattern: bytes) -> None:
    """One byte changed anywhere: exit code 1, and the line is named."""
    data = bytearray(story.proof.read_bytes())
    line_at = data.rindex(b'"kind":"%b"' % kind.encode())
    start = data.rfind(b"\n", 0, line_at) + 1
    found = re.search(pattern, data[start:])
    assert found is not None
    at = start + found.start(1)
    data[at] = ord("1") if data[at] != ord("1") else ord("2")
    flipped = tmp_path / "flipped.ndjson"
    flipped.write_bytes(data)
    done = _verify(flipped)
    assert done.returncode == 1
    assert kind in done.stdout.rsplit("does not hold:", 1)[1]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("payment", {"amount_atomic": "10001"}),
        ("payment", {"price_usd_nanos": "10000001"}),
        ("mandate_use", {"amount_usd_nanos": "20000000"}),
        ("mandate", {"signature": "0x" + "11" * 65}),
        ("transaction", {"hash": "0x" + "00" * 32}),
        ("receipt", {"issuer": "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"}),
    ],
)
def test_a_bundle_made_up_and_sealed_anew_does_not_hold(story: Story, kind: str, change: dict[str, str]) -> None:
    """A node that seals a story of its own making with its own key is contradicted by what others signed."""
    lines = [line.object for line in bundles.read(story.proof.read_bytes()).lines]
    changed = [{**line, **change} if line["kind"] == kind else line for line in lines]
    sealed = bundles.seal(changed, node_keys(), SystemClock().now_us(), 0)
    failed = [check for check in verify(bundles.read(sealed)) if not check.ok]
    assert kind in {check.kind for check in failed}, json.dumps([vars(check) for check in failed])


def _verify(path: Path, *options: str) -> CompletedProcess[str]:
    return ran("agentnode.cli", "verify", str(path), *options, environment={**os.environ, "COLUMNS": "200"})
