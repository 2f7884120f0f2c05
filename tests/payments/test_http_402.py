"""HTTP 402 on completions: who has no key is told a price, pays it, and gets what that bought, once."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from paid_http import CHAT, Buyer, chat, decoded, encoded
from payments_world import World, signed_payload
from sqlmodel import update

from agentnode.cli.local import accounts
from agentnode.payments import PaymentRefused
from agentnode.payments.schemes.payload import read_authorization
from agentnode.payments.tables import PaymentIntent
from ledger.accounts import SCOPES
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc
from tests.upstream import FakeUpstream


def refusal(answer: Any) -> str:
    """Why a payment was not taken; the answer is a price again."""
    assert answer.status_code == 402, answer.text
    assert answer.json()["accepts"]
    return decoded(answer, "payment-response")["errorReason"]


def test_a_completion_is_bought_without_a_key(buyer: Buyer, chain: ChainProcess) -> None:
    """402 with the price; paid, the answer and the settlement; what the call did not use is on the receipt."""
    asked = buyer.price(chat())
    assert {"quoteId", "expiresAt", "inputHash", "priceVersion"} <= asked["extra"].keys()
    answer = buyer.pay(chat(), buyer.payload(asked))
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    settled = decoded(answer, "payment-response")
    assert settled["success"]
    assert settled["payer"] == buyer.account.address.lower()
    assert chain.rpc("eth_getTransactionReceipt", settled["transaction"])["result"]["status"] == "0x1"
    assert usdc(chain, buyer.account.address) == 1_000_000 - int(asked["amount"])
    receipt = buyer.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
    cost = answer.json()["p402_metadata"]["cost_usd_exact"]
    assert receipt["used_usd_exact"] == cost
    assert receipt["next_counter"] == 1


async def test_a_402_that_a_payment_would_not_cure_asks_for_none(node: NodeProcess, tmp_path: Any) -> None:
    """Hard case 11: a tenant without money gets the plain error, a stranger the price, for the same request."""
    stranger = node.http.post(CHAT, json=chat())
    assert stranger.status_code == 402
    assert stranger.json()["error"].startswith("PAYMENT_REQUIRED: ")
    async with accounts(node.settings) as own:
        await own.ensure_tenant("poor", "poor", "prepaid")
        key = (await own.create_key("poor", "test", SCOPES)).secret
    tenant = node.http.post(CHAT, json=chat(), headers={"Authorization": f"Bearer {key}"})
    assert tenant.status_code == 402
    assert tenant.json()["error"]["code"] == "INSUFFICIENT_BUDGET"
    assert "payment-required" not in tenant.headers


def test_a_paid_stream_streams(buyer: Buyer, fake: FakeUpstream) -> None:
    """The settlement stands in the head, and the first words arrive while the upstream still waits."""
    body = chat("a b c d e f", stream=True, model="m1")
    payload = buyer.payload(buyer.price(body))
    fake.behave(always={"text": "one two three four", "gate_after": 2})
    with buyer.http.stream("POST", CHAT, json=body, headers={"PAYMENT-SIGNATURE": encoded(payload)}) as answer:
        assert decoded(answer, "payment-response")["success"]
        lines = answer.iter_lines()
        assert "chat.completion.chunk" in next(lines)
        fake.open()
        assert "data: [DONE]" in list(lines)
    fake.reset()
    assert refusal(buyer.pay(body, payload)) == "DUPLICATE_NONCE"


@pytest.mark.parametrize("header", ["X-PAYMENT", "X-402-Payment"])
def test_version_1_and_the_header_of_p402_pay_too(buyer: Buyer, header: str) -> None:
    asked = buyer.price(chat())
    inner = buyer.payload(asked)["payload"]
    if header == "X-PAYMENT":
        value = encoded({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": inner})
    else:
        signed = base64.urlsafe_b64encode(json.dumps(inner).encode()).decode().rstrip("=")
        value = f"x402-v1;network=31337;token={asked['asset']};sig={signed};amount={asked['amount']}"
    answer = buyer.http.post(CHAT, json=chat(), headers={header: value})
    assert answer.status_code == 200, answer.text
    assert decoded(answer, "x-payment-response")["success"]


def test_two_payments_on_one_request_are_refused(buyer: Buyer) -> None:
    one, other = (buyer.payload(buyer.price(chat())) for _ in range(2))
    both = {"PAYMENT-SIGNATURE": encoded(one), "X-PAYMENT": encoded(other)}
    answer = buyer.http.post(CHAT, json=chat(), headers=both)
    assert answer.status_code == 400
    assert buyer.pay(chat(), one).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["", "%%%", "bm90IGpzb24=", encoded([1]), encoded("x"), "A" * 40_000, encoded({"x402Version": 2}), "e30="],
    ids=["empty", "no base64", "no json", "a list", "a text", "oversized", "no accepted", "empty object"],
)
@pytest.mark.parametrize("header", ["PAYMENT-SIGNATURE", "X-PAYMENT", "X-402-Payment"])
def test_a_malformed_header_is_the_callers_mistake(node: NodeProcess, header: str, value: str) -> None:
    """Never a 5xx, and never a delivery."""
    assert node.http.post(CHAT, json=chat(), headers={header: value}).status_code in (400, 402)


def test_the_same_payment_a_hundred_times_buys_one_answer(buyer: Buyer, chain: ChainProcess) -> None:
    """In parallel, on both routes: one is served, one price is paid. Over two workers: test_attacks_over_http."""
    asked = buyer.price(chat("once"))
    payload = buyer.payload(asked)
    paths = (CHAT, "/api/v2/chat/completions")
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: buyer.pay(chat("once"), payload, paths[n % 2]), range(100)))
    assert [each.status_code for each in answers].count(200) == 1
    assert {each.status_code for each in answers} <= {200, 402, 409}
    assert usdc(chain, buyer.account.address) == 1_000_000 - int(asked["amount"])


def test_a_payment_buys_the_request_that_was_priced_and_no_other(buyer: Buyer, chain: ChainProcess) -> None:
    """Hard case 15: another body, query or path is refused before settlement, and the right one still is served."""
    payload = buyer.payload(buyer.price(chat("cheap")))
    for text, path in (("dear", CHAT), ("cheap", CHAT + "?x=1"), ("cheap", "/api/v2/chat/completions")):
        assert refusal(buyer.pay(chat(text), payload, path)) == "INVALID_AMOUNT"
    assert usdc(chain, buyer.account.address) == 1_000_000
    assert buyer.pay(chat("cheap"), payload).status_code == 200


@pytest.mark.parametrize("member", ["quoteId", "expiresAt", "inputHash", "priceVersion", "name"])
def test_no_bound_term_can_be_changed(buyer: Buyer, member: str) -> None:
    """A later end, another list of prices, another input: the quote's seal covers them."""
    payload = buyer.payload(buyer.price(chat()))
    extra = payload["accepted"]["extra"]
    extra[member] = extra[member] + 1 if isinstance(extra[member], int) else extra[member][:-1] + "!"
    assert refusal(buyer.pay(chat(), payload)) in ("INVALID_AMOUNT", "SETTLEMENT_FAILED")
    del extra[member]
    assert refusal(buyer.pay(chat(), payload)) == "INVALID_AMOUNT"


def test_who_only_read_the_nonce_on_chain_gets_nothing(buyer: Buyer, fake: FakeUpstream) -> None:
    """The work failed after the payment: the payer may try again, and only the payer."""
    payload = buyer.payload(buyer.price(chat("hard", model="m1")))
    fake.behave(always={"status": 500})
    failed = buyer.pay(chat("hard", model="m1"), payload)
    fake.reset()
    assert failed.status_code >= 500
    assert decoded(failed, "payment-response")["success"]
    forged = json.loads(json.dumps(payload))
    forged["payload"]["signature"] = "0x" + "11" * 64 + "1b"
    assert refusal(buyer.pay(chat("hard", model="m1"), forged)) == "INVALID_SIGNATURE"
    assert buyer.pay(chat("hard", model="m1"), payload).status_code == 200


def test_a_signature_written_otherwise_is_the_same_payment(buyer: Buyer, chain: ChainProcess) -> None:
    """v of 0 and 1, capitals, a high s: never a second delivery, never a second transfer."""
    payload = buyer.payload(buyer.price(chat()))
    assert buyer.pay(chat(), payload).status_code == 200
    paid = usdc(chain, buyer.account.address)
    raw = bytes.fromhex(payload["payload"]["signature"][2:])
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    high_s = raw[:32] + (order - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big") + bytes([55 - raw[64]])
    for other in (raw[:64] + bytes([raw[64] - 27]), high_s):
        again = json.loads(json.dumps(payload))
        again["payload"]["signature"] = "0x" + other.hex().upper()
        assert refusal(buyer.pay(chat(), again)) in ("DUPLICATE_NONCE", "INVALID_SIGNATURE")
    assert usdc(chain, buyer.account.address) == paid


def test_a_named_purchase_is_bought_once_whatever_is_signed_for_it(buyer: Buyer, chain: ChainProcess) -> None:
    """payment-identifier: a retry that signs anew gets the first answer; another request under the name is a 409."""
    name = {"payment-identifier": {"info": {"required": False, "id": "purchase_0123456789"}}}
    first = buyer.pay(chat(), buyer.payload(buyer.price(chat())) | {"extensions": name})
    paid = usdc(chain, buyer.account.address)
    again = buyer.pay(chat(), buyer.payload(buyer.price(chat())) | {"extensions": name})
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert usdc(chain, buyer.account.address) == paid
    other = buyer.pay(chat("other"), buyer.payload(buyer.price(chat("other"))) | {"extensions": name})
    assert other.status_code in (402, 409)
    assert usdc(chain, buyer.account.address) == paid


@pytest.mark.parametrize("name", ["short", "with a space in it!!", 7, ["x" * 20]])
def test_a_name_that_is_none_is_refused(buyer: Buyer, name: Any) -> None:
    payload = buyer.payload(buyer.price(chat())) | {"extensions": {"payment-identifier": {"info": {"id": name}}}}
    assert buyer.pay(chat(), payload).status_code == 400


def test_what_only_a_tenant_has_needs_its_key(node: NodeProcess) -> None:
    for said in ({"session_id": "sess_1"}, {"tenant_id": "acme"}):
        assert node.http.post(CHAT, json=chat(p402=said)).status_code == 401
    assert node.http.post(CHAT, json=chat(model="no/such-model")).status_code in (400, 404)


async def test_what_was_tried_and_not_paid_leaves_no_row(world: World) -> None:
    """Strangers who sign without money do not fill the disk; a purchase that was paid stays."""
    poor, payer = world.chain.funded("0"), world.chain.funded("1")
    gate, intents, asked = world.payments.task_gate, world.payments.intents, await world.require()
    tries = [replace(asked, payment_id=name, task_id=name) for name in ("pay_poor", "pay_good")]
    offers = [read_authorization(signed_payload(world.chain, who, asked), asked) for who in (poor, payer)]
    with pytest.raises(PaymentRefused):
        await intents.take(await intents.open(tries[0], fills_purse=True), tries[0], offers[0])
    await intents.take(await intents.open(tries[1], fills_purse=True), tries[1], offers[1])
    async with world.database.write() as session:
        await session.exec(update(PaymentIntent).values(expires_at_us=0))
    assert await intents.forget_unpaid() == 1
    assert await gate.requirement("pay_poor") is None
    assert await gate.requirement("pay_good") is not None
    assert await gate.requirement(asked.task_id) is not None
