"""The scheme `receipt`: what was paid and not used buys later work, for its payer only, each spend once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from paid_http import Buyer, chat, decoded

from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, usdc


def settled_by(buyer: Buyer) -> dict[str, Any]:
    answer = buyer.buy(chat())
    assert answer.status_code == 200, answer.text
    return decoded(answer, "payment-response")


def test_what_is_left_buys_later_work_without_a_transfer(buyer: Buyer, chain: ChainProcess) -> None:
    """Signed with the next counter, the spend is served; the receipt shows it, and the wallet is as it was."""
    settled = settled_by(buyer)
    before = usdc(chain, buyer.account.address)
    answer = buyer.spend(chat("again"), settled, 1)
    assert answer.status_code == 200, answer.text
    assert usdc(chain, buyer.account.address) == before
    shown = buyer.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
    assert shown["next_counter"] == 2
    assert shown["amount_usd_exact"] == "0.01"
    assert 0 < float(shown["used_usd_exact"]) < 0.01


def test_only_its_payer_spends_a_receipt(node: NodeProcess, buyer: Buyer, chain: ChainProcess) -> None:
    """Who knows the receipt, and signs as somebody else, is told what who names a missing one is told."""
    settled, thief = settled_by(buyer), Buyer(node.http, chain, chain.funded("1"))
    foreign = thief.spend(chat("steal"), settled, 1)
    missing = thief.spend(chat("steal"), {**settled, "receiptId": "rcpt_" + "0" * 32}, 1)
    assert foreign.status_code == missing.status_code == 402
    assert foreign.json()["error"] == missing.json()["error"]


def test_a_spend_is_taken_once_and_for_its_request(buyer: Buyer) -> None:
    """The same spend again, the counter for another request, and one far ahead are refused."""
    settled = settled_by(buyer)
    asked = buyer.price(chat("one"))
    spend = buyer.spend_payload(asked, settled, 1)
    assert buyer.pay(chat("one"), spend).status_code == 200
    for answer in (
        buyer.pay(chat("one"), spend),
        buyer.pay(chat("two"), spend),
        buyer.spend(chat("two"), settled, 1),
        buyer.spend(chat("two"), settled, 10_000),
    ):
        assert answer.status_code == 402
    assert buyer.spend(chat("two"), settled, 2).status_code == 200


def test_the_amount_that_was_signed_is_the_most_that_is_taken(buyer: Buyer) -> None:
    """A spend whose signature is over another amount, quote or counter is nobody's."""
    settled, asked = settled_by(buyer), buyer.price(chat("x"))
    for change in ({"amount": "1"}, {"amount": "999999"}):
        spend = buyer.spend_payload({**asked, **change}, settled, 1)
        spend["accepted"]["amount"] = asked["amount"]
        assert buyer.pay(chat("x"), spend).status_code == 402
    spend = buyer.spend_payload(asked, settled, 1)
    spend["payload"]["counter"] = 2
    assert buyer.pay(chat("x"), spend).status_code == 402


@pytest.mark.parametrize("counter", [0, -1, 1.5, "1", True, None, 2**80])
def test_a_counter_that_is_none_is_refused(buyer: Buyer, counter: Any) -> None:
    settled, asked = settled_by(buyer), buyer.price(chat("x"))
    spend = buyer.spend_payload(asked, settled, 1)
    spend["payload"]["counter"] = counter
    assert buyer.pay(chat("x"), spend).status_code in (400, 402)


def test_the_same_spend_sent_by_many_is_served_once(buyer: Buyer) -> None:
    settled, asked = settled_by(buyer), buyer.price(chat("race"))
    spend = buyer.spend_payload(asked, settled, 1)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: buyer.pay(chat("race"), spend), range(20)))
    assert [each.status_code for each in answers].count(200) == 1
