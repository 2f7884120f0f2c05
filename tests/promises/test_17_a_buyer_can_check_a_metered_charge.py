"""Promise 17: a buyer can check a metered charge."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnode.evidence.charges import CHARGE_TYP
from agentnode.hire.charges import check_charge, with_charge_checked
from agentnode.hire.errors import ChargeRefused
from agentnode.hire.seller import SellerTask
from agentnode.hire.tables import HireCall
from ledger.money import usd_exact, usd_nanos
from tests.answering import answering
from tests.devchain.devchain_process import ChainProcess
from tests.node_keys import node_keys
from tests.scenarios.engine_node import upstream_at
from tests.scenarios.node_process import NodeProcess, payload_for
from tests.upstream import FakeUpstream
from trust.signatures import jws
from trust.web import GuardedClient

PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def seller(
    chain: ChainProcess, upstream_process: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    upstreams = [upstream_at("mock", upstream_process.api)]
    node = NodeProcess(tmp_path_factory.mktemp("promise-17") / "seller", chain, upstreams=upstreams)
    yield node
    node.stop()


def bought(seller: NodeProcess, text: str) -> tuple[httpx.Response, dict[str, Any]]:
    """The answer to who paid for it, and the settlement."""
    body = {"model": "m1", "messages": [{"role": "user", "content": text}], "max_tokens": 50}
    asked = seller.http.post(CHAT, json=body).json()["accepts"][0]
    payload = payload_for(seller.chain, seller.chain.funded("1"), asked)
    header = {"PAYMENT-SIGNATURE": base64.b64encode(json.dumps(payload).encode()).decode()}
    answer = seller.http.post(CHAT, json=body, headers=header)
    assert answer.status_code == 200, answer.text
    settled: dict[str, Any] = json.loads(base64.b64decode(answer.headers["payment-response"]))
    settled["quoted"] = asked["extra"]["priceVersion"]
    return answer, settled


def test_a_charge_is_recomputed_from_signed_usage_and_the_price_version(
    seller: NodeProcess, upstream: FakeUpstream, record_property: Callable[[str, object], None]
) -> None:
    """By hand, from what anybody may read: the statement's usage, the published list's rates, one rounding."""
    total = 0
    for turn in range(5):
        upstream.behave(always={"text": " ".join(["word"] * (turn + 1))})
        answer, settled = bought(seller, f"question {turn} " * (turn + 1))
        charge = seller.http.get(f"/api/v2/receipts/{settled['receiptId']}/charges/{answer.json()['id']}").json()
        said = jws.verify(charge["statement"], jwks=seller.http.get("/.well-known/jwks.json").json(), typ=CHARGE_TYP)
        listed = {each["id"]: each for each in seller.http.get("/v1/models").json()["data"]}[said["model"]]
        assert said["price"]["version"] == listed["price_version"] == settled["quoted"]
        rates = {part: usd_nanos(listed[f"{part}_usd_per_mtok_exact"], part) for part in PARTS[:4]}
        rates["reasoning"] = rates["output"]
        by_hand = -(-sum(said["usage"][part] * rates[part] for part in PARTS) // 1_000_000)
        assert usd_exact(by_hand) == answer.headers["x-p402-cost-usd"] == charge["cost_usd_exact"]
        standing = seller.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
        assert standing["used_usd_exact"] == usd_exact(by_hand)
        total += by_hand
    record_property("figure", f"5 charges recomputed to the nano, {usd_exact(total)} USD")


def test_a_charge_is_shown_to_who_has_its_receipt_alone(seller: NodeProcess) -> None:
    answer, settled = bought(seller, "mine")
    other, other_settled = bought(seller, "theirs")
    for receipt_id, event_id in (
        (settled["receiptId"], other.json()["id"]),
        (other_settled["receiptId"], answer.json()["id"]),
        ("rcpt_none", answer.json()["id"]),
    ):
        assert seller.http.get(f"/api/v2/receipts/{receipt_id}/charges/{event_id}").status_code == 404


RATES = {part: {"base": "150000000", "steps": []} for part in PARTS}


def statement(charged: int, tokens: int = 1_000, **other: Any) -> dict[str, Any]:
    claims = {
        "version": 1,
        "jti": "evt_1",
        "receipt_id": "rcpt_1",
        "usage": dict.fromkeys(PARTS, tokens),
        "price": {"version": "v", "usd_nanos_per_mtok": RATES},
        "cost_usd_nanos": str(charged),
    }
    return {**claims, **other}


@given(st.integers(0, 10**6), st.integers(0, 10**9))
def test_no_charge_above_the_usage_or_the_payment_is_taken(tokens: int, charged: int) -> None:
    owed = -(-5 * tokens * 150_000_000 // 1_000_000)
    try:
        taken = check_charge(statement(charged, tokens), "rcpt_1", "evt_1", 700_000)
    except ChargeRefused:
        assert charged > owed or charged > 700_000
    else:
        assert taken == charged <= min(owed, 700_000)


@pytest.mark.parametrize(
    "other",
    [
        {"receipt_id": "rcpt_2"},
        {"jti": "evt_2"},
        {"usage": {**dict.fromkeys(PARTS, 1), "output": -1}},
        {"usage": None},
        {"price": {"version": "v", "usd_nanos_per_mtok": None}},
        {"cost_usd_nanos": "a lot"},
    ],
)
def test_a_statement_of_something_else_or_of_nothing_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ChargeRefused):
        check_charge(statement(1, **other), "rcpt_1", "evt_1", 700_000)


def paid_call(url: str) -> HireCall:
    """A call over HTTP for which a tenth of a cent was paid."""
    return HireCall(
        id="call_1",
        tenant_id="t",
        resource_id=None,
        card_url=url,
        skill=None,
        mandate_id=None,
        use_id="hold_1",
        amount_usd_nanos=1_000_000,
        network="eip155:31337",
        asset="",
        payer="",
        payee="",
        amount_atomic="1000",
        task_id="http_call_1",
        context_id="",
        task_state="completed",
        lease_until_us=0,
        created_at_us=0,
        updated_at_us=0,
    )


@pytest.mark.parametrize(
    ("charged", "forged", "state"),
    [(750_000, False, "completed"), (750_001, False, "failed"), (750_000, True, "failed")],
    ids=["what is owed", "a nano more", "not the seller's word"],
)
async def test_a_server_that_asks_more_is_refused_by_our_client(charged: int, forged: bool, state: str) -> None:
    """The work of a seller whose own signed usage does not bear out its charge is not accepted."""
    keys = node_keys()
    signer = node_keys("another") if forged else keys
    stated = {"statement": signer.sign(statement(charged), CHARGE_TYP)}
    artifacts = [{"parts": [{"text": '{"id": "evt_1"}'}]}]
    paid = {"x402.payment.receipts": [{"success": True, "receiptId": "rcpt_1"}]}
    web = GuardedClient(["127.0.0.1/32"])
    with answering(lambda path, body: (200, keys.jwks() if "jwks" in path else stated)) as origin:
        answered = SellerTask("http_call_1", "", "completed", paid, {"artifacts": artifacts})
        task = await with_charge_checked(paid_call(f"{origin}/x"), answered, web)
    await web.aclose()
    assert task.state == state
    assert ("charge" in task.content) == (state == "completed")
    if state == "failed":
        assert task.content["error"]["code"] == "CHARGE_REFUSED"
