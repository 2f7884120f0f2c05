"""Promise 6: nobody pays for what did not arrive, no seller is silently unpaid. And promise 3, as HTTP says it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.devchain.devchain_process import ChainProcess
from tests.payments.faulty_facilitator import HANGS_UP_SETTLED, SAYS_500, SILENT, FaultyFacilitator
from tests.payments.paid_http import CHAT, Buyer, chat, decoded, encoded
from tests.payments.rpc_proxy import LOSE_ANSWER, RpcProxy, refused
from tests.scenarios.engine_node import upstream_at
from tests.scenarios.node_process import NodeProcess, usdc
from tests.upstream import FakeUpstream, run_upstream

BODY = chat("say hi", model="m1")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with run_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def rpc(chain: ChainProcess) -> Iterator[RpcProxy]:
    with RpcProxy(chain.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def facilitator(chain: ChainProcess) -> Iterator[FaultyFacilitator]:
    with FaultyFacilitator(chain) as running:
        yield running


def node_on(
    url: str, fake: FakeUpstream, chain: ChainProcess, folder: Path, facilitators: list[dict[str, str]]
) -> NodeProcess:
    at: Any = SimpleNamespace(url=url)
    waits = {"settle_timeout_s": 1, "facilitator_timeout_s": 1}
    return NodeProcess(folder, at, upstreams=[upstream_at("mock", fake.api)], facilitators=facilitators, **waits)


@pytest.fixture(scope="module")
def own(
    rpc: RpcProxy, fake: FakeUpstream, chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """Settles by its own queue, through an RPC that can be made to fail."""
    node = node_on(rpc.url, fake, chain, tmp_path_factory.mktemp("promise-6") / "own", [])
    yield node
    node.stop()


@pytest.fixture(scope="module")
def carried(
    facilitator: FaultyFacilitator, fake: FakeUpstream, chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """Settles by a facilitator that can be made to fail."""
    folder = tmp_path_factory.mktemp("promise-6") / "carried"
    node = node_on(chain.url, fake, chain, folder, [{"url": facilitator.url}])
    yield node
    node.stop()


def end_of(buyer: Buyer, answer: httpx.Response, paid_atomic: int) -> str:
    """Which of the three ends it is, by the buyer's balance and what the answer offers."""
    charged = 1_000_000 - usdc(buyer.chain, buyer.account.address)
    if answer.status_code == 409:
        where = buyer.http.get(answer.headers["Location"])
        assert where.status_code == 200 and "retry-after" in answer.headers, where.text
        return "pending with a URL"
    if answer.status_code == 200:
        assert charged == paid_atomic
        return "delivered and paid"
    if charged == 0:
        return "not delivered and not charged"
    assert charged == paid_atomic
    settled = decoded(answer, "payment-response")
    left = buyer.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
    # An upstream that fails may have billed the prompt: the engine keeps that much, and no more.
    assert left["left_usd"] > 0.99 * left["amount_usd"], left
    return "not delivered and still usable"


@pytest.mark.parametrize(
    ("step", "rule", "first"),
    [
        ("verify", lambda r: 503 if r["method"] == "eth_estimateGas" else None, "not delivered and not charged"),
        (
            "settle, refused",
            lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None,
            "pending with a URL",
        ),
        (
            "settle, unheard",
            lambda r: LOSE_ANSWER if r["method"] == "eth_sendRawTransaction" else None,
            "",
        ),
        (
            "confirm",
            lambda r: {"result": None} if r["method"] == "eth_getTransactionReceipt" else None,
            "pending with a URL",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value else "",
)
def test_a_chain_that_fails_at_a_step(
    own: NodeProcess, chain: ChainProcess, rpc: RpcProxy, step: str, rule: Any, first: str
) -> None:
    """Nothing is charged, or it is pending with a URL; once the chain is back the same payload is served, once."""
    buyer = Buyer(own.http, chain, chain.funded("1"))
    asked = buyer.price(BODY)
    payload, paid = buyer.payload(asked), int(asked["amount"])
    rpc.rule = rule
    try:
        end = end_of(buyer, buyer.pay(BODY, payload), paid)
    finally:
        rpc.rule = lambda request: None
    assert first in ("", end), step
    if end == "delivered and paid":
        return
    assert end_of(buyer, buyer.paid(BODY, payload), paid) == "delivered and paid"


def test_work_that_fails_leaves_the_receipt_unspent(own: NodeProcess, chain: ChainProcess, fake: FakeUpstream) -> None:
    """Paid, and the upstream is down: what was paid is on the receipt, and buys the next try."""
    buyer = Buyer(own.http, chain, chain.funded("1"))
    asked = buyer.price(BODY)
    fake.behave(always={"status": 500})
    payload = buyer.payload(asked)
    failed = buyer.paid(BODY, payload)
    fake.reset()
    assert failed.status_code >= 500
    assert end_of(buyer, failed, int(asked["amount"])) == "not delivered and still usable"
    assert end_of(buyer, buyer.pay(BODY, payload), int(asked["amount"])) == "delivered and paid"


def test_a_reply_that_was_lost_is_given_again(own: NodeProcess, chain: ChainProcess, fake: FakeUpstream) -> None:
    """The client hung up while the work was done: the same payload gets the answer, and nothing more is charged."""
    buyer = Buyer(own.http, chain, chain.funded("1"))
    asked = buyer.price(BODY)
    payload = buyer.payload(asked)
    fake.behave(always={"delay_s": 1.5})
    with pytest.raises(httpx.TimeoutException):
        own.http.post(CHAT, json=BODY, headers={"PAYMENT-SIGNATURE": encoded(payload)}, timeout=1)
    fake.reset()
    answer = buyer.paid(BODY, payload)
    assert answer.status_code == 200, answer.text
    assert end_of(buyer, answer, int(asked["amount"])) == "delivered and paid"


@pytest.mark.parametrize("fault", [SAYS_500, HANGS_UP_SETTLED])
def test_a_facilitator_whose_answer_is_lost(
    carried: NodeProcess, chain: ChainProcess, facilitator: FaultyFacilitator, fault: str
) -> None:
    """It has settled and did not say so: the chain does, and the buyer is served for one payment."""
    buyer = Buyer(carried.http, chain, chain.funded("1"))
    facilitator.fault = fault
    asked = buyer.price(BODY)
    answer = buyer.paid(BODY, buyer.payload(asked))
    assert end_of(buyer, answer, int(asked["amount"])) == "delivered and paid"


def test_while_the_outcome_is_unknown_it_is_409_with_where_to_look(
    carried: NodeProcess, chain: ChainProcess, facilitator: FaultyFacilitator, record_property: Callable[..., None]
) -> None:
    """Neither 402 nor 2xx, however often it is asked; 402 once the window has closed without a transfer."""
    buyer = Buyer(carried.http, chain, chain.funded("1"))
    facilitator.fault = SILENT
    asked = buyer.price(BODY)
    closes = int(time.time()) + 8
    payload, ends = buyer.payload(asked, valid_before=closes), []
    while True:
        answer = buyer.pay(BODY, payload)
        if time.time() >= closes:
            break
        ends.append(end_of(buyer, answer, int(asked["amount"])))
    assert set(ends) == {"pending with a URL"}
    answer = buyer.paid(BODY, payload)
    assert answer.status_code == 402
    assert end_of(buyer, answer, 0) == "not delivered and not charged"
    record_property("figure", f"a fault at each step; {len(ends)} times 409 while unknown, then 402, nothing charged")
