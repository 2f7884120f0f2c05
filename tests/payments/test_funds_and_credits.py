"""A tenant pays for credits and for a session's funds with x402, on the request that asks for them, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from own_transfers import claim_signature, transferred
from paid_http import Buyer, decoded, encoded

from agentnode.cli.local import accounts
from ledger.accounts import SCOPES
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc


@dataclass
class Tenant:
    buyer: Buyer
    key: str

    def ask(self, path: str, body: Any, payload: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        if payload is not None:
            headers["PAYMENT-SIGNATURE"] = encoded(payload)
        return self.buyer.http.post(f"/api/v2{path}", json=body, headers=headers)

    def pay(self, path: str, body: Any) -> tuple[dict[str, Any], httpx.Response]:
        """The payload, and what it bought."""
        asked = self.ask(path, body)
        assert asked.status_code == 402, asked.text
        payload = self.buyer.payload(self.buyer.accepts(asked))
        return payload, self.ask(path, body, payload)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.buyer.http.get(f"/api/v2{path}", headers={"Authorization": f"Bearer {self.key}"})
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = answer.json()
        return read


async def tenant_of(node: NodeProcess, buyer: Buyer, name: str) -> Tenant:
    async with accounts(node.settings) as own:
        await own.ensure_tenant(name, name, "prepaid")
        return Tenant(buyer, (await own.create_key(name, "test", SCOPES)).secret)


@pytest.fixture
async def tenant(node: NodeProcess, buyer: Buyer) -> AsyncIterator[Tenant]:
    return await tenant_of(node, buyer, f"tenant-{buyer.account.address[2:10].lower()}")


def test_credits_are_paid_for_and_there(tenant: Tenant, chain: ChainProcess) -> None:
    """50 cents buy 50 credits of real money; the history names them, and the wallet is lighter by that."""
    _, bought = tenant.pay("/credits/purchase", {"amount_usd": 0.5, "mode": "paid"})
    assert bought.status_code == 200, bought.text
    assert bought.json()["purchased"] == 50
    assert bought.json()["payment"]["transaction"] == decoded(bought, "payment-response")["transaction"]
    assert tenant.get("/credits/balance") | {"balance": 50, "test_credits": 0} == tenant.get("/credits/balance")
    assert [entry["kind"] for entry in tenant.get("/credits/history")["data"]] == ["purchase"]
    assert usdc(chain, tenant.buyer.account.address) == 500_000


def test_a_purchase_sent_again_is_the_same_purchase(tenant: Tenant, chain: ChainProcess) -> None:
    """Twenty times at once and once more: one transfer, one booking, one answer."""
    body = {"amount_usd": "0.25", "mode": "paid"}
    payload = tenant.buyer.payload(tenant.buyer.accepts(tenant.ask("/credits/purchase", body)))
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: tenant.ask("/credits/purchase", body, payload), range(20)))
    answers.append(tenant.ask("/credits/purchase", body, payload))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert tenant.get("/credits/balance")["balance"] == 25
    assert usdc(chain, tenant.buyer.account.address) == 750_000


def test_a_payment_buys_for_the_tenant_that_was_priced(node: NodeProcess, tenant: Tenant) -> None:
    """Another tenant cannot take the credits with the same payment, and the first still can."""
    other = asyncio.run(tenant_of(node, tenant.buyer, "thief"))
    body = {"amount_usd": 0.25, "mode": "paid"}
    payload = tenant.buyer.payload(tenant.buyer.accepts(tenant.ask("/credits/purchase", body)))
    assert other.ask("/credits/purchase", body, payload).status_code == 402
    assert tenant.ask("/credits/purchase", body, payload).status_code == 200
    assert other.ask("/credits/purchase", body, payload).status_code == 402
    assert (other.get("/credits/balance")["balance"], tenant.get("/credits/balance")["balance"]) == (0, 25)


@pytest.mark.parametrize("source", ["base_pay", "direct"])
def test_a_session_is_funded_and_spends_it(tenant: Tenant, source: str) -> None:
    """A prepaid tenant without credits pays its session's calls from the funds, whatever the upstream."""
    session = tenant.ask("/sessions", {"budget_usd": 0.01}).json()
    body = {"session_id": session["id"], "amount": 0.3, "source": source, "network": "eip155:31337"}
    _, funded = tenant.pay("/sessions/fund", body)
    assert funded.status_code == 200, funded.text
    assert funded.json()["budget"]["total_usd_exact"] == "0.31"
    assert funded.json()["funding"]["source"] == source
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "model": "m1"}
    chat["p402"] = {"session_id": session["id"]}
    answer = tenant.ask("/chat/completions", chat)
    assert answer.status_code == 200, answer.text
    assert tenant.get(f"/sessions/{session['id']}")["budget"]["used_usd"] > 0


def test_a_session_that_is_over_asks_for_no_money(tenant: Tenant) -> None:
    session = tenant.ask("/sessions", {"budget_usd": 0.01}).json()
    headers = {"Authorization": f"Bearer {tenant.key}"}
    tenant.buyer.http.delete(f"/api/v2/sessions/{session['id']}", headers=headers).raise_for_status()
    over = tenant.ask("/sessions/fund", {"session_id": session["id"], "amount": 1, "source": "direct"})
    assert (over.status_code, over.json()["error"]["code"]) == (409, "SESSION_ENDED")
    foreign = tenant.ask("/sessions/fund", {"session_id": "sess_x", "amount": 1, "source": "direct"})
    assert foreign.status_code == 404
    standing = tenant.ask("/sessions", {"budget_usd": 0.01}).json()
    hashed = {"session_id": standing["id"], "amount": 1, "source": "direct", "tx_hash": "0x" + "00" * 32}
    assert tenant.ask("/sessions/fund", hashed).status_code == 400


def test_what_a_session_did_not_spend_of_real_money_is_the_tenants_again(tenant: Tenant) -> None:
    """Ended, its funds become credits; all that was paid is in the call's cost and the balance."""
    session = tenant.ask("/sessions", {"budget_usd": 0.01}).json()
    tenant.pay("/sessions/fund", {"session_id": session["id"], "amount": 0.3, "source": "direct"})
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "model": "m1"}
    cost = tenant.ask("/chat/completions", chat | {"p402": {"session_id": session["id"]}}).json()["p402_metadata"]
    headers = {"Authorization": f"Bearer {tenant.key}"}
    tenant.buyer.http.delete(f"/api/v2/sessions/{session['id']}", headers=headers).raise_for_status()
    left = Decimal(tenant.get("/credits/balance")["balance_usd_exact"])
    assert left + Decimal(cost["cost_usd_exact"]) == Decimal("0.3")
    assert [entry["kind"] for entry in tenant.get("/credits/history")["data"]] == ["refund"]


def test_a_session_takes_a_transfer_that_its_sender_made_for_it(tenant: Tenant, chain: ChainProcess) -> None:
    """`tx_hash` in the body, signed with the session's id; another session, and another sender, do not have it."""
    session, other = (tenant.ask("/sessions", {"budget_usd": 0.01}).json() for _ in range(2))
    payer, body = tenant.buyer.account, {"session_id": session["id"], "amount": 0.3, "source": "direct"}
    accepts = tenant.buyer.accepts(tenant.ask("/sessions/fund", body), "onchain")
    tx_hash = transferred(chain, payer, accepts["asset"], accepts["payTo"], 300_000)
    authority = accepts["extra"]["authority"]
    signed = {"tx_hash": tx_hash, "signature": claim_signature(payer, tx_hash, session["id"], authority)}
    stolen = {**signed, "signature": claim_signature(chain.funded("0"), tx_hash, session["id"], authority)}
    assert tenant.ask("/sessions/fund", body | stolen).status_code == 402
    assert tenant.ask("/sessions/fund", body | signed | {"session_id": other["id"]}).status_code == 402
    funded = tenant.ask("/sessions/fund", body | signed)
    assert funded.status_code == 200, funded.text
    assert funded.json()["funding"]["transaction"] == tx_hash
    assert funded.json()["budget"]["total_usd_exact"] == "0.31"
    assert tenant.ask("/sessions/fund", body | signed).text == funded.text
    assert tenant.ask("/sessions/fund", body | signed | {"amount": 0.1}).status_code == 402
