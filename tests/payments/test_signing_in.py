"""Who signs in with the wallet that paid is the payer: given again what it bought, shown its receipts and its tasks."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from paid_http import CHAT, Buyer, chat, decoded
from payments_world import stranger
from siwx_wallet import NAME, OwnedWallet, challenge_of, proof

from agentnode.cli.local import accounts
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, payload_for, requirement, usdc
from tests.upstream import FakeUpstream

RECEIPTS = "/api/v2/receipts"


def price(node: NodeProcess, body: Any) -> httpx.Response:
    answer = httpx.post(node.url + CHAT, json=body, timeout=60, verify=False)
    assert answer.status_code == 402
    return answer


def signed_in(node: NodeProcess, body: Any, header: str) -> httpx.Response:
    return httpx.post(node.url + CHAT, json=body, headers={"SIGN-IN-WITH-X": header}, timeout=60, verify=False)


async def test_the_official_client_is_given_again_what_it_bought(
    node: NodeProcess, chain: ChainProcess, fake: FakeUpstream
) -> None:
    """The Python package's client buys once; then it signs in by itself, and nothing is paid or run."""
    from x402 import x402Client
    from x402.extensions.sign_in_with_x import CreateSIWxClientExtensionOptions, create_siwx_client_extension
    from x402.http.clients.httpx import x402HttpxClient
    from x402.mechanisms.evm.exact import ExactEvmScheme
    from x402.mechanisms.evm.signers import EthAccountSigner

    payer, calls = chain.funded("1"), fake.count
    client = x402Client()
    client.register("eip155:*", ExactEvmScheme(EthAccountSigner(payer)))
    client.set_spend_controls({"allowed_assets": True})
    client.register_extension(create_siwx_client_extension(CreateSIWxClientExtensionOptions(signers=[payer])))
    async with x402HttpxClient(client, base_url=node.url, timeout=60, verify=False) as http:
        answers = [await http.post(CHAT, json=chat("what I want twice")) for _ in range(3)]
        other = await http.post(CHAT, json=chat("something else"))
    assert [answer.status_code for answer in answers] == [200, 200, 200], answers[1].text
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert answers[0].headers["payment-response"] == answers[2].headers["payment-response"]
    assert other.json()["id"] != answers[0].json()["id"]
    assert usdc(chain, payer.address) == 1_000_000 - 2 * 10_000
    assert fake.count - calls == 2


async def test_a_proof_is_good_once(buyer: Buyer, node: NodeProcess) -> None:
    """On every worker: sent again it is a price, with a new challenge that is good again."""
    body = chat("once")
    bought = buyer.buy(body)
    header = await proof(challenge_of(price(node, body)), buyer.account)
    first = signed_in(node, body, header)
    assert (first.status_code, first.json()) == (200, bought.json())
    for _ in range(6):  # each on a connection of its own: either worker
        again = signed_in(node, body, header)
        assert again.status_code == 402
        assert "invalid_siwx_nonce" in again.json()["error"]
    assert signed_in(node, body, await proof(challenge_of(again), buyer.account)).status_code == 200


async def test_nobody_else_is_given_it(buyer: Buyer, node: NodeProcess) -> None:
    """Another wallet, another request, another's signature: a price, and why."""
    body = chat("mine")
    buyer.buy(body)
    theirs = signed_in(node, body, await proof(challenge_of(price(node, body)), stranger()))
    assert theirs.status_code == 402
    assert "ANSWER_NOT_KEPT" in theirs.json()["error"]
    other = chat("another")
    unbought = signed_in(node, other, await proof(challenge_of(price(node, other)), buyer.account))
    assert "ANSWER_NOT_KEPT" in unbought.json()["error"]
    said = json.loads(base64.b64decode(await proof(challenge_of(price(node, body)), stranger())))
    said["address"] = buyer.account.address
    forged = signed_in(node, body, base64.b64encode(json.dumps(said).encode()).decode())
    assert "invalid_siwx_signature" in forged.json()["error"]


async def test_a_proof_is_good_where_it_was_asked(buyer: Buyer, node: NodeProcess) -> None:
    """One for the receipts gets no completion, and the other way round."""
    body = chat("there")
    buyer.buy(body)
    for_receipts = await proof(challenge_of(node.http.get(RECEIPTS)), buyer.account)
    assert "invalid_siwx_uri_mismatch" in signed_in(node, body, for_receipts).json()["error"]
    for_chat = await proof(challenge_of(price(node, body)), buyer.account)
    refused = node.http.get(RECEIPTS, headers={"SIGN-IN-WITH-X": for_chat})
    assert refused.status_code == 402
    assert "invalid_siwx_uri_mismatch" in refused.json()["error"]["message"]
    assert signed_in(node, body, for_chat).status_code == 200  # what was refused elsewhere is not used up


@pytest.mark.parametrize("header", ["", "e30=", "bm90IGpzb24=", "{}", "é", "a" * 40_000])
def test_a_header_that_is_no_proof_is_named(node: NodeProcess, header: str) -> None:
    """400 with the header's name, on every route that reads it."""
    sent = {"SIGN-IN-WITH-X": header.encode("latin-1")}
    for answer in (
        httpx.post(node.url + CHAT, json=chat(), headers=sent, verify=False),
        httpx.get(node.url + RECEIPTS, headers=sent, verify=False),
        httpx.get(node.url + "/api/a2a/rest/tasks", headers=sent, verify=False),
    ):
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == "SIGN-IN-WITH-X"


async def test_the_receipts_of_a_wallet_are_listed_for_who_signs_in(buyer: Buyer, node: NodeProcess) -> None:
    """A 402 that asks for no money; then the payer's own receipts, and no other's."""
    settled = decoded(buyer.buy(chat("listed")), "payment-response")
    asked = node.http.get(RECEIPTS)
    assert (asked.status_code, asked.json()["error"]["code"]) == (402, "SIGN_IN_REQUIRED")
    assert decoded(asked, "payment-required")["accepts"] == []
    header = {"SIGN-IN-WITH-X": await proof(challenge_of(asked), buyer.account)}
    listed = node.http.get(RECEIPTS, headers=header)
    assert [each["id"] for each in listed.json()["data"]] == [settled["receiptId"]]
    assert listed.headers["cache-control"] == "no-store"
    nobody = {"SIGN-IN-WITH-X": await proof(challenge_of(node.http.get(RECEIPTS)), stranger())}
    assert node.http.get(RECEIPTS, headers=nobody).json()["data"] == []


async def test_who_signs_in_gets_back_what_is_left(buyer: Buyer, node: NodeProcess, chain: ChainProcess) -> None:
    """Its own, once; a stranger's proof gets nothing back."""
    settled = decoded(buyer.buy(chat("back")), "payment-response")
    payment_id = node.http.get(f"{RECEIPTS}/{settled['receiptId']}").json()["payment_id"]
    path, had = f"/api/v2/payments/{payment_id}/refund", usdc(chain, buyer.account.address)
    given = []
    for account in (stranger(), buyer.account, buyer.account):
        header = await proof(challenge_of(node.http.post(path, json={})), account)
        given.append(node.http.post(path, json={}, headers={"SIGN-IN-WITH-X": header}))
    assert [answer.status_code for answer in given] == [403, 200, 200]
    assert given[1].json() == given[2].json()
    assert usdc(chain, buyer.account.address) == had + int(given[1].json()["amount"])


async def test_a_contract_wallet_signs_in(node: NodeProcess, chain: ChainProcess) -> None:
    """By its owner's signature, which the chain is asked about (EIP-1271); a stranger's is none."""
    info = chain.info()
    keys = {account["address"]: account["private_key"] for account in info["accounts"]}
    wallet = OwnedWallet(info["wallet"]["address"], keys[info["wallet"]["owner"]])
    statuses = []
    for each in (wallet, OwnedWallet(wallet.address, stranger().key)):
        header = await proof(challenge_of(node.http.get(RECEIPTS)), each)  # type: ignore[arg-type]
        statuses.append(node.http.get(RECEIPTS, headers={"SIGN-IN-WITH-X": header}).status_code)
    assert statuses == [200, 402]


async def test_a_payer_lists_its_tasks_over_a2a(node: NodeProcess, chain: ChainProcess) -> None:
    """The x402 payer and who signs in with its wallet are one caller, over JSON-RPC and REST; a stranger is not."""
    payer = chain.funded("1")
    task = node.send("what is paid for")
    node.pay(task, payload_for(chain, payer, requirement(task)))
    node.until(task["id"], "completed", "failed")

    async def header(account: Any) -> dict[str, str]:
        challenge = node.http.get("/api/a2a/sign-in").json()["extensions"][NAME]
        return {"SIGN-IN-WITH-X": await proof(challenge, account), "A2A-Version": "1.0"}

    listed = node.rpc("ListTasks", {}, await header(payer))["result"]
    assert [each["id"] for each in listed["tasks"]] == [task["id"]]
    rest = node.http.get("/api/a2a/rest/tasks", headers=await header(payer))
    assert [each["id"] for each in rest.json()["tasks"]] == [task["id"]]
    assert rest.headers["cache-control"] == "no-store"  # a cache would give it to who does not sign in
    assert node.rpc("ListTasks", {}, await header(stranger()))["result"]["tasks"] == []
    used = await header(payer)
    assert node.rpc("GetTask", {"id": task["id"]}, used)["result"]["id"] == task["id"]
    again = node.http.post("/api/a2a", json={}, headers=used)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "SIGN_IN_REFUSED")
    assert again.json()["error"]["extensions"][NAME]["info"]["nonce"]


async def test_the_extended_card_says_what_holds_for_its_caller(node: NodeProcess) -> None:
    """A key's limits; of a wallet its address, and where its receipts are."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard", "params": {}}
    async with accounts(node.settings) as own:
        await own.ensure_tenant("carded", "carded", "open")
        key = (await own.create_key("carded", "test", {"chat"})).secret
    wallet = stranger()
    challenge = node.http.get("/api/a2a/sign-in").json()["extensions"][NAME]
    told = []
    for identity in ({"Authorization": f"Bearer {key}"}, {"SIGN-IN-WITH-X": await proof(challenge, wallet)}):
        headers = {"A2A-Version": "1.0", **identity}
        card = node.http.post("/api/a2a", json=asked, headers=headers).json()["result"]
        told.append(card["capabilities"]["extensions"][-1]["params"])
    of_key, of_wallet = told
    assert (of_key["tenant_id"], of_key["scopes"], of_key["billing"]) == ("carded", ["chat"], "open")
    assert of_key["limits"]["usd_per_day_exact"] == "1000"
    assert of_wallet == {"payer": wallet.address.lower(), "receipts": node.url + RECEIPTS}
    assert node.http.post("/api/a2a", json=asked, headers={"A2A-Version": "1.0"}).status_code == 401


def test_the_card_says_how_to_sign_in(node: NodeProcess) -> None:
    card = node.http.get("/.well-known/agent-card.json", headers={"A2A-Version": "1.0"}).json()
    wallet = card["securitySchemes"]["wallet"]["apiKeySecurityScheme"]
    assert (wallet["location"], wallet["name"]) == ("header", "SIGN-IN-WITH-X")
    challenge = httpx.get(wallet["description"].rpartition(" ")[2]).json()["extensions"][NAME]
    assert challenge["info"]["uri"] == node.url + "/api/a2a"
