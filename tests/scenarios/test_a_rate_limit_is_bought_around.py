"""At an upstream's rate limit the node buys the answer from another agent, within a mandate and never beyond."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentnode.cli.local import NodeClient, keystore
from agentnode.cli.mandate import sign_mandate
from agentnode.settings import load
from tests.devchain.devchain_process import ChainProcess
from tests.rounds import LONG
from tests.scenarios.engine_node import new_key, upstream_at
from tests.scenarios.furnished import new_wallet
from tests.scenarios.node_process import NodeProcess, usdc
from tests.upstream import FakeUpstream, run_upstream

TEXT = "Which sentence counts? This one has the point. That one has less."
PRICE = 10_000
"""of the seller's `ask`, in atomic USDC: 0.01 USD"""


class World:
    """A node whose only upstream is at its limit, beside one that sells answers."""

    def __init__(self, folder: Path, chain: ChainProcess, limited: FakeUpstream) -> None:
        self.chain = chain
        self.seller = NodeProcess(folder / "seller", chain)
        self.node = NodeProcess(folder / "node", chain, upstreams=[upstream_at("limited", limited.api)])
        selling, buying = (load({}, data=folder / side, chain=chain.url) for side in ("seller", "node"))
        self.key = new_key(buying)
        self.http = httpx.Client(base_url=self.node.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=90)
        self.client = NodeClient(self.node.url, self.key)
        self.pay_to = str(keystore(selling).address("node"))
        listed = {"agent_card_url": self.seller.url, "name": "Ask", "description": "Answers.", "skill": "ask"}
        priced = {"price_per_call_usd": "0.01", "pay_to": self.pay_to, "capabilities": ["chat"]}
        self.client.call("POST", "/api/v2/bazaar/listings", {**listed, **priced})
        self.wallets = keystore(buying)
        self.wallet, _ = (new_wallet(buying.data, name) for name in ("default", "grantor"))
        chain.http.post("/faucet", json={"address": self.wallet, "usdc": "1"}).raise_for_status()

    def mandate(self, usd: str) -> str:
        wanted = {"max_amount_usd": usd, "allowed_categories": ["agent_hire"], "valid_until": 4_000_000_000}
        return str(sign_mandate(self.client, self.wallets, 31337, "grantor", "default", wanted)["id"])

    def spent(self, mandate_id: str) -> str:
        mandate = self.client.call("GET", f"/api/a2a/mandates/{mandate_id}")["mandate"]
        return str(mandate["amount_spent_usd_exact"])

    def ask(self, stream: bool = False, **p402: Any) -> httpx.Response:
        body = {"model": "m1", "messages": [{"role": "user", "content": TEXT}], "stream": stream, "p402": p402}
        return self.http.post("/v1/chat/completions", json=body)

    @property
    def paid(self) -> int:
        return usdc(self.chain, self.pay_to)

    def close(self) -> None:
        self.http.close()
        for process in (self.node, self.seller):
            process.stop()


@pytest.fixture(scope="module")
def world(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with run_upstream() as limited:
        limited.behave(always={"status": 429, "retry_after": "30"})
        made = World(tmp_path_factory.mktemp("bought"), chain, limited)
        yield made
        made.close()


def test_the_answer_is_bought_within_the_mandate(world: World) -> None:
    """One transfer of the price; the metadata says who served and by which call, which shows the payment."""
    mandate, before = world.mandate("0.01"), world.paid
    answer = world.ask(on_rate_limit="pay", mandate_id=mandate)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert "point" in said["choices"][0]["message"]["content"]
    metadata = said["p402_metadata"]
    assert (metadata["provider"], metadata["cost_usd_exact"]) == ("bazaar", "0.01")
    assert metadata["attempts"][-1]["outcome"] == "served" and metadata["attempts"][-1]["event_id"] == said["id"]
    called = world.client.call("GET", f"/api/v2/bazaar/calls/{metadata['bought_call_id']}")
    assert (called["status"], called["payment"]["status"], called["mandate_id"]) == ("completed", "settled", mandate)
    assert world.paid - before == PRICE and world.spent(mandate) == "0.01"


def test_a_stream_that_is_refused_at_the_limit_is_bought_too(world: World) -> None:
    mandate, before = world.mandate("0.01"), world.paid
    answer = world.ask(stream=True, on_rate_limit="pay", mandate_id=mandate)
    assert answer.status_code == 200 and answer.text.endswith("data: [DONE]\n\n")
    assert '"provider":"bazaar"' in answer.text and world.paid - before == PRICE


@pytest.mark.parametrize(
    ("p402", "reason"),
    [
        ({}, ""),
        ({"on_rate_limit": "fail"}, ""),
        ({"on_rate_limit": "pay"}, "mandate_id"),
        ({"on_rate_limit": "pay", "mandate_id": "mdt_unknown"}, "MANDATE"),
        ({"on_rate_limit": "pay", "max_cost": 0.009}, "nobody sells"),
        ({"on_rate_limit": "pay", "exclude_providers": ["bazaar"]}, "keeps other agents out"),
    ],
)
def test_without_leave_to_pay_the_limit_is_the_answer(world: World, p402: dict[str, Any], reason: str) -> None:
    """429, with the reason why nothing was bought where it was asked for; nothing moves."""
    before = world.paid
    if "max_cost" in p402 or "exclude_providers" in p402:
        p402 = {**p402, "mandate_id": world.mandate("0.01")}
    refused = world.ask(**p402)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "UPSTREAM_BUSY"), refused.text
    assert reason in refused.json()["error"]["message"] and world.paid == before


def test_a_mandate_that_cannot_pay_leaves_the_limit_as_the_answer(world: World) -> None:
    mandate, before = world.mandate("0.009"), world.paid
    refused = world.ask(on_rate_limit="pay", mandate_id=mandate)
    assert refused.status_code == 429 and "BUDGET_EXCEEDED" in refused.json()["error"]["message"]
    assert world.paid == before and world.spent(mandate) == "0"


def test_many_at_once_never_spend_more_than_the_mandate(world: World) -> None:
    """Enough for three: three answers and three transfers, and 429 for the others."""
    count = 20 if LONG else 8
    mandate, before = world.mandate("0.03"), world.paid
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: world.ask(on_rate_limit="pay", mandate_id=mandate), range(count)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * (count - 3)
    assert world.paid - before == 3 * PRICE and world.spent(mandate) == "0.03"
