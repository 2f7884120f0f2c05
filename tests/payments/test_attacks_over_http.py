"""What an attacker tries with a payment over HTTP, at a node of two workers on a real chain (docs/attacks.md)."""

from __future__ import annotations

import base64
import copy
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from own_transfers import claim_payload, transferred
from paid_http import CHAT, Buyer, chat, decoded, encoded, known
from rpc_proxy import RpcProxy, refused
from strangers import by_stranger
from test_mutated_payloads import mutated
from test_refunds import ask_over_http

from agentnode.devchain.artifacts import artifact
from ledger.money import usd_nanos
from tests.devchain.devchain_process import ChainProcess, authorization
from tests.rounds import rounds
from tests.scenarios.node_process import NodeProcess, payload_for, requirement, usdc

TEXT = "Which sentence counts? This one has the point. That one has less."
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
ELSEWHERE = "/api/v2/chat/completions"


def refusal(answer: Any) -> str:
    assert answer.status_code == 402, answer.text
    header = "payment-response" if "payment-response" in answer.headers else "x-payment-response"
    return str(decoded(answer, header)["errorReason"])


def in_version_1(payload: dict[str, Any]) -> dict[str, str]:
    """The same authorisation, which names no quote."""
    named = {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload["payload"]}
    return {"X-PAYMENT": encoded(named)}


def signed_otherwise(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The same signature in capitals, with v of 0 or 1, and with the high s."""
    raw = bytes.fromhex(payload["payload"]["signature"][2:])
    high = raw[:32] + (ORDER - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big") + bytes([55 - raw[64]])
    made = []
    for signature in (raw.hex().upper(), (raw[:64] + bytes([raw[64] - 27])).hex(), high.hex()):
        made.append(copy.deepcopy(payload))
        made[-1]["payload"]["signature"] = "0x" + signature
    return made


@pytest.fixture(scope="module")
def rpc(chain: ChainProcess) -> Iterator[RpcProxy]:
    with RpcProxy(chain.url) as proxy:
        yield proxy


def at(rpc: RpcProxy) -> Any:
    return SimpleNamespace(url=rpc.url)


SELLER: dict[str, Any] = {"settle_timeout_s": 1, "least_payment_usd": "0.01"}


@pytest.fixture(scope="module")
def node(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("two-workers") / "seller"
    running = NodeProcess(folder, chain, workers=2, least_payment_usd="0.01")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def seller(rpc: RpcProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    running = NodeProcess(tmp_path_factory.mktemp("attacked") / "seller", at(rpc), **SELLER)
    yield running
    running.stop()


@pytest.fixture
def watched(seller: NodeProcess, rpc: RpcProxy) -> Iterator[NodeProcess]:
    """A seller whose chain can be made to lag, or to change behind its back."""
    yield seller
    rpc.rule = lambda request: None


def test_a_signature_written_otherwise_before_it_was_settled(buyer: Buyer, chain: ChainProcess) -> None:
    """The high s is refused; the others and the first, all at once over two workers, are one payment."""
    payload = buyer.payload(buyer.price(chat("otherwise")))
    capitals, low_v, high_s = signed_otherwise(payload)
    assert refusal(buyer.pay(chat("otherwise"), high_s)) == "INVALID_SIGNATURE"
    assert usdc(chain, buyer.account.address) == 1_000_000
    with ThreadPoolExecutor(9) as threads:
        answers = list(threads.map(lambda one: buyer.pay(chat("otherwise"), one), [payload, capitals, low_v] * 3))
    assert [each.status_code for each in answers].count(200) == 1
    assert {each.status_code for each in answers} <= {200, 402, 409}
    assert usdc(chain, buyer.account.address) == 990_000


def test_settled_for_others_at_the_same_time_it_moves_once(
    node: NodeProcess, buyer: Buyer, chain: ChainProcess
) -> None:
    """One authorisation, spelled in several ways, asked of the open facilitator by many: one transaction."""
    asked = {**buyer.price(chat()), "payTo": chain.funded("0").address}
    payload = buyer.payload(asked)

    def settle(sent: dict[str, Any]) -> dict[str, Any]:
        body = {"x402Version": 2, "paymentPayload": sent, "paymentRequirements": asked}
        told: dict[str, Any] = node.http.post("/facilitator/settle", json=body).json()
        return told

    before = chain.rpc("eth_getTransactionCount", sender_of(node), "latest")["result"]
    with ThreadPoolExecutor(9) as threads:
        told = list(threads.map(settle, [payload, *signed_otherwise(payload)[:2]] * 3))
    assert len({one["transaction"] for one in told if one["success"]}) == 1
    assert usdc(chain, asked["payTo"]) == int(asked["amount"])
    after = chain.rpc("eth_getTransactionCount", sender_of(node), "latest")["result"]
    assert int(after, 16) - int(before, 16) == 1, "no second transaction was sent, to be reverted at our cost"


def sender_of(node: NodeProcess) -> str:
    told = node.http.get("/facilitator/supported").json()
    return str(next(iter(told["signers"].values()))[0])


def test_two_payers_of_one_task(node: NodeProcess, chain: ChainProcess) -> None:
    """Six at once over two workers: one of them pays, the others keep their money."""
    task, payers = node.send(TEXT), [chain.funded("1") for _ in range(6)]
    payloads = [payload_for(chain, payer, requirement(task)) for payer in payers]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda payload: node.pay(task, payload), payloads))
    node.until(task["id"], "completed")
    assert sorted(usdc(chain, payer.address) for payer in payers) == [990_000, *[1_000_000] * 5]


def test_money_that_is_gone_between_check_and_settlement(
    watched: NodeProcess, chain: ChainProcess, rpc: RpcProxy
) -> None:
    """Not delivered and not charged; the next buyer is served, and with money the same payload is."""
    poor, honest = (Buyer(watched.http, chain, chain.funded("1")) for _ in range(2))
    payload, token, gone = poor.payload(poor.price(chat())), chain.usdc(), False

    def spend_it(request: dict[str, Any]) -> None:
        nonlocal gone
        if request["method"] == "eth_maxPriorityFeePerGas" and not gone:  # checked and journaled, not sent yet
            gone = True
            call = token.encode_abi("transfer", args=[chain.funded("0").address, 995_000])
            chain.send(poor.account, to=token.address, data=call)

    rpc.rule = spend_it
    assert refusal(poor.paid(chat(), payload)) == "SETTLEMENT_FAILED"
    assert gone and usdc(chain, poor.account.address) == 5_000
    assert honest.buy(chat()).status_code == 200
    chain.http.post("/faucet", json={"address": poor.account.address, "usdc": "1"}).raise_for_status()
    assert poor.paid(chat(), payload).status_code == 200
    assert usdc(chain, poor.account.address) == 995_000


def test_a_window_that_closes_between_check_and_settlement(
    watched: NodeProcess, chain: ChainProcess, rpc: RpcProxy
) -> None:
    """While it may still be sent it is pending, with a URL; then refused, never charged, and a new payment pays."""
    buyer = Buyer(watched.http, chain, chain.funded("1"))
    rpc.rule = lambda request: refused("busy") if request["method"] == "eth_maxPriorityFeePerGas" else None
    closes = int(time.time()) + 7
    payload = buyer.payload(buyer.price(chat()), valid_before=closes)
    first = buyer.pay(chat(), payload)
    assert first.status_code == 409 and "location" in first.headers, first.text
    while time.time() < closes:
        time.sleep(0.1)
    rpc.rule = lambda request: None
    assert refusal(buyer.paid(chat(), payload)) in ("EXPIRED_PAYMENT", "SETTLEMENT_FAILED")
    assert usdc(chain, buyer.account.address) == 1_000_000
    assert buyer.buy(chat()).status_code == 200


@pytest.fixture(scope="module")
def false_coin(chain: ChainProcess) -> dict[str, Any]:
    """USDC's own code, name, symbol, version and decimals at another address, whose minter the attacker is."""
    attacker = chain.funded("0")
    made = chain.send(attacker, data=artifact("UsdCoin").creation, gas=3_000_000)
    return {**chain.info()["usdc"], "address": made["contractAddress"]}


ACCEPTED: dict[str, dict[str, str]] = {
    "another chain in the payload": {"network": "eip155:8453"},
    "another token of the same symbol": {"asset": "false"},
    "a token of 18 decimals": {"asset": "odd18"},
    "a token of 2 decimals": {"asset": "odd2"},
    "a token without authorisations": {"asset": "plain"},
    "the amount as of 2 decimals": {"amount": "1"},
    "the amount as of 18 decimals": {"amount": "10000000000000000"},
    "nothing": {"amount": "0"},
    "another payee": {"payTo": "0x" + "11" * 20},
}
SIGNED: dict[str, dict[str, Any]] = {
    "over another chain": {"chain_id": 8453},
    "over another token of the same symbol": {"asset": "false"},
    "over a token of 18 decimals": {"asset": "odd18"},
    "over a token of 2 decimals": {"asset": "odd2"},
    "over 1 unit": {"value": 1},
    "over another payee": {"payee": "0x" + "11" * 20},
}


@pytest.mark.parametrize("signs_it_too", [True, False], ids=["and signed so", "and signed as asked"])
@pytest.mark.parametrize("changed", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_was_not_asked_does_not_pay(
    buyer: Buyer, false_coin: dict[str, Any], changed: dict[str, str], signs_it_too: bool
) -> None:
    """Another chain, token, unit or payee than the price names: refused in both spellings, and nothing moves."""
    asked = buyer.price(chat())
    tokens = {**buyer.chain.info()["tokens"], "false": false_coin}
    named = {key: tokens[value]["address"] if key == "asset" else value for key, value in changed.items()}
    wrong = {**asked, **named}
    said = {"payee": wrong["payTo"], "value": int(wrong["amount"])} if signs_it_too else {}
    token = {**tokens[changed["asset"]], "version": "2"} if "asset" in changed and signs_it_too else {}
    payload = {**signed(buyer, asked, token, **said), "accepted": wrong}
    assert refusal(buyer.pay(chat(), payload)) in ("NETWORK_MISMATCH", "INVALID_SIGNATURE", "INVALID_AMOUNT")
    assert usdc(buyer.chain, buyer.account.address) == 1_000_000


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("changed", SIGNED.values(), ids=SIGNED.keys())
def test_what_was_asked_and_not_signed_does_not_pay(
    node: NodeProcess, buyer: Buyer, false_coin: dict[str, Any], changed: dict[str, Any], version: int
) -> None:
    """The words are right and the signature is over other terms."""
    asked, said = buyer.price(chat()), dict(changed)
    tokens = {**buyer.chain.info()["tokens"], "false": false_coin}
    token = tokens.get(said.pop("asset", ""), {}) | {k: said.pop(k) for k in ("chain_id",) if k in said}
    payload = signed(buyer, asked, token, **said)
    headers = {"PAYMENT-SIGNATURE": encoded(payload)} if version == 2 else in_version_1(payload)
    answer = node.http.post(CHAT, json=chat(), headers=headers)
    assert refusal(answer) in ("INVALID_SIGNATURE", "INVALID_AMOUNT")
    assert usdc(buyer.chain, buyer.account.address) == 1_000_000


def signed(buyer: Buyer, asked: dict[str, Any], token: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A payload whose authorisation is signed over another token's domain, or another chain's."""
    said = {"payee": asked["payTo"], "value": int(asked["amount"])} | other
    made = authorization(buyer.account, said["payee"], said["value"])
    payload = buyer.payload(asked, **said)
    domain = {**buyer.chain.info()["usdc"], **token}
    payload["payload"] = {
        "signature": made.sign(domain).signature.to_0x_hex(),
        "authorization": {
            **payload["payload"]["authorization"],
            "validBefore": str(made.valid_before),
            "nonce": "0x" + made.nonce.hex(),
        },
    }
    return payload


@pytest.mark.parametrize("member", ["network", "asset"])
def test_the_facilitator_settles_no_other_chain_and_no_other_token(
    node: NodeProcess, buyer: Buyer, false_coin: dict[str, Any], member: str
) -> None:
    """Another seller's requirement for them is a 400 that names the member."""
    asked = {**buyer.price(chat()), "payTo": buyer.chain.funded("0").address}
    asked[member] = "eip155:1" if member == "network" else false_coin["address"]
    body = {"x402Version": 2, "paymentPayload": buyer.payload(asked), "paymentRequirements": asked}
    for verb in ("verify", "settle"):
        answer = node.http.post(f"/facilitator/{verb}", json=body)
        assert answer.status_code == 400 and member in answer.json()["error"]["message"], answer.text


def test_what_somebody_else_broadcast_first_buys_its_work_once(
    buyer: Buyer, node: NodeProcess, chain: ChainProcess
) -> None:
    """Before the buyer came, over HTTP and A2A: the payer gets the work, and again a duplicate; nobody else does."""
    payload = buyer.payload(buyer.price(chat()))
    by_stranger(chain, payload)
    forged = {**payload, "payload": {**payload["payload"], "signature": "0x" + "11" * 64 + "1b"}}
    assert refusal(buyer.pay(chat(), forged)) == "INVALID_SIGNATURE"
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: buyer.pay(chat(), payload), range(8)))
    assert [each.status_code for each in answers].count(200) == 1
    assert {each.status_code for each in answers} <= {200, 402, 409}
    assert refusal(buyer.paid(chat(), payload)) == "DUPLICATE_NONCE"

    tasks, payer = [node.send(TEXT), node.send(TEXT)], chain.funded("1")
    paid = payload_for(chain, payer, requirement(tasks[0]))
    by_stranger(chain, paid)
    node.pay(tasks[0], paid)
    node.until(tasks[0]["id"], "completed")
    told = node.pay(tasks[1], {**paid, "accepted": requirement(tasks[1])})
    assert told["status"]["message"]["metadata"]["x402.payment.error"] == "DUPLICATE_NONCE"
    assert (usdc(chain, buyer.account.address), usdc(chain, payer.address)) == (990_000, 990_000)


def test_a_receipt_that_is_refunded_while_it_is_spent_is_worth_what_was_paid(buyer: Buyer, chain: ChainProcess) -> None:
    """Spends and refunds of one receipt, all at once over two workers: what was used and what went back is the whole,
    and the payment sent again buys nothing more."""
    payload = buyer.payload(buyer.price(chat()))
    settled = decoded(buyer.paid(chat(), payload), "payment-response")
    path = f"/api/v2/receipts/{settled['receiptId']}"
    payment_id, had = buyer.http.get(path).json()["payment_id"], usdc(chain, buyer.account.address)
    spends = [buyer.spend_payload(buyer.price(chat(f"spend {n}")), settled, n) for n in range(1, 9)]

    def act(n: int) -> int:
        if n % 3 == 2:
            return int(ask_over_http(buyer, settled, payment_id).status_code)
        return int(buyer.pay(chat(f"spend {n - n // 3}"), spends[n - n // 3 - 1]).status_code)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(act, range(1, 13)))
    until = time.monotonic() + 30
    while (given := ask_over_http(buyer, settled, payment_id)).status_code != 200:
        assert time.monotonic() < until, given.text
        time.sleep(0.2)
    shown, back = buyer.http.get(path).json(), int(given.json()["amount"])
    assert usdc(chain, buyer.account.address) == had + back
    used = usd_nanos(shown["used_usd_exact"], "used_usd")
    assert 9_999_000 < used + back * 1_000 <= 10_000_000, "less than one unit stays with the seller"
    assert refusal(buyer.paid(chat(), payload)) == "DUPLICATE_NONCE"
    assert buyer.spend(chat("after"), settled, 20).status_code == 402


def test_a_claimed_transaction_of_somebody_else_buys_nothing(buyer: Buyer, chain: ChainProcess) -> None:
    """Its hash is public: without a signature, under the thief's, or under its sender's for another quote. Then it pays
    what its sender claims."""
    honest = Buyer(buyer.http, chain, chain.funded("1"))
    theirs, ours = (Buyer.accepts(buyer.http.post(CHAT, json=chat(text)), "onchain") for text in ("theirs", "ours"))
    transaction = transferred(chain, honest.account, theirs["asset"], theirs["payTo"], int(theirs["amount"]))
    right = claim_payload(honest.account, transaction, theirs)
    bare = f"x402-v1;network=31337;token={ours['asset']};tx={transaction};amount={ours['amount']};"
    bare += f"quote={ours['extra']['quoteId']}"
    assert buyer.http.post(CHAT, json=chat("ours"), headers={"X-402-Payment": bare}).status_code in (400, 402)
    for stolen in (claim_payload(buyer.account, transaction, ours), {**right, "accepted": ours}):
        assert refusal(buyer.pay(chat("ours"), stolen)) == "INVALID_SIGNATURE"
    assert honest.paid(chat("theirs"), right).status_code == 200


HEADERS = {
    "many": [("PAYMENT-SIGNATURE", "e30=")] * 50,
    "not ASCII": [("PAYMENT-SIGNATURE", "\xff\xfe\x00é".replace("\x00", ""))],
    "deep": [("PAYMENT-SIGNATURE", base64.b64encode(b"[" * 20_000).decode())],
    "deep object": [("X-PAYMENT", base64.b64encode(b'{"a":' * 4_000 + b"1" + b"}" * 4_000).decode())],
    "a number too large": [("PAYMENT-SIGNATURE", base64.b64encode(b'{"x402Version":' + b"9" * 5_000 + b"}").decode())],
    "not UTF-8": [("X-PAYMENT", base64.b64encode(b'{"a":"\xff"}').decode())],
    "a lone surrogate": [("X-PAYMENT", base64.b64encode(b'{"network":"\\ud800"}').decode())],
    "NaN": [("X-PAYMENT", base64.b64encode(b'{"x402Version":NaN}').decode())],
    "just within": [("PAYMENT-SIGNATURE", "A" * 32_768)],
    "half a megabyte": [("PAYMENT-SIGNATURE", "A" * 500_000)],
}


@pytest.mark.parametrize("sent", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_no_payment_is_the_callers_mistake(node: NodeProcess, sent: list[tuple[str, str]]) -> None:
    """Never a 5xx, never a delivery, and the node still answers."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent]
    try:
        assert node.http.post(CHAT, json=chat(), headers=raw).status_code in (400, 402, 431)
    except httpx.RemoteProtocolError:
        pass  # the server hangs up on a head that goes on and on
    assert node.http.get("/api/v2/health").status_code == 200


def test_a_good_payment_in_a_header_that_is_too_long_is_not_read(buyer: Buyer) -> None:
    """What a wallet contract's signature needs, and no more; without the padding it pays."""
    payload = buyer.payload(buyer.price(chat()))
    padded = encoded({**payload, "padding": " " * 24_000})
    answer = buyer.http.post(CHAT, json=chat(), headers={"PAYMENT-SIGNATURE": padded})
    assert answer.status_code == 400 and "PAYMENT-SIGNATURE" in answer.json()["error"]["message"]
    assert buyer.paid(chat(), payload).status_code == 200


def test_changed_payments_over_http_are_refused_and_none_is_a_crash(buyer: Buyer) -> None:
    """As test_mutated_payloads, through headers, server and journal: the good one is taken once, whatever came before.

    What differs in a signed or bound field is never served.
    """
    chance, payload = random.Random(403), buyer.payload(buyer.price(chat("mutated")))
    signed_terms = json.dumps(payload["payload"]["authorization"]).lower()
    for _ in range(rounds(150)):
        sent = mutated(payload, chance)
        answer = buyer.pay(chat("mutated"), sent)
        assert answer.status_code in (200, 400, 402, 409), (answer.status_code, answer.text, sent)
        if answer.status_code == 200:
            assert json.dumps(sent["payload"]["authorization"]).lower() == signed_terms
            assert sent["accepted"]["extra"] == payload["accepted"]["extra"]
    buyer.pay(chat("mutated"), payload)
    assert usdc(buyer.chain, buyer.account.address) == 990_000


def test_a_payment_buys_once_whatever_becomes_of_the_node(
    watched: NodeProcess, chain: ChainProcess, rpc: RpcProxy
) -> None:
    """Again at the same node, on another resource, and both after a restart: a duplicate, and nothing moves."""
    payers = [Buyer(watched.http, chain, chain.funded("1")) for _ in range(2)]
    payloads = [payer.payload(payer.price(chat())) for payer in payers]
    headers = [{"PAYMENT-SIGNATURE": encoded(payloads[0])}, in_version_1(payloads[1])]
    for sent in headers:
        assert known(partial(watched.http.post, CHAT, json=chat(), headers=sent)).status_code == 200
    paid = [usdc(chain, payer.account.address) for payer in payers]
    watched.stop()
    again = NodeProcess(watched.settings.data, at(rpc), workers=2, **SELLER, port=watched.port)
    try:
        for sent in headers:
            assert refusal(again.http.post(CHAT, json=chat(), headers=sent)) == "DUPLICATE_NONCE"
        for path, body in ((ELSEWHERE, chat()), (CHAT, chat("other"))):
            reused = again.http.post(path, json=body, headers=headers[1])
            assert refusal(reused) == "DUPLICATE_NONCE", "version 1 names no quote, so the journal alone knows it"
            assert refusal(again.http.post(path, json=body, headers=headers[0])) == "INVALID_AMOUNT"
    finally:
        again.stop()
    assert [usdc(chain, payer.account.address) for payer in payers] == paid
