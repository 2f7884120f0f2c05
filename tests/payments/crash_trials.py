"""What is done to a seller that is killed in the midst, by scheme, and how it is judged afterwards."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from own_transfers import claimed
from payments_world import signed_payload

from agentnode.payments.asking.requirement import PaymentRequirement
from ledger.money import NANOS_PER_USD, Asset
from tests.devchain.devchain_process import ChainProcess
from tests.forked import Program
from tests.rounds import LONG
from trust.signatures import eip712, jws

AT_ONCE = 3
Offer = tuple[Any, str, dict[str, Any]]
"""A payer, the task that it pays for, and its payload."""


class Seller:
    """A folder with a journal, and the warm parent of all its processes."""

    def __init__(self, folder: Path, chain: ChainProcess) -> None:
        self.folder = folder
        self.chain = chain
        self._tasks = 0
        self._priced: list[tuple[str, dict[str, Any]]] = []
        self._unspent: list[tuple[Any, str, dict[str, str]]] = []
        self._parent = Program("tests.payments.crash_parent", str(folder), chain.url)
        assert self.run(upgrade=True) == 0

    def run(self, **command: Any) -> int:
        """How a process that did this ended."""
        self._parent.tell(json.dumps(command))
        return int(self._parent.stdout.readline())

    def priced(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """New tasks, each with what it asks by scheme."""
        if len(self._priced) < count:
            tasks = [f"task_{self._tasks + n}" for n in range(60)]
            self._tasks += len(tasks)
            assert self.run(require=tasks, take_over=True) == 0
            self._priced += zip(tasks, json.loads((self.folder / "asked.json").read_text()), strict=True)
        return [self._priced.pop() for _ in range(count)]

    def offers(self, count: int) -> list[Offer]:
        """New payers, each with the task it pays for and its payload."""
        offers: list[Offer] = []
        for task, accepts in self.priced(count):
            payer = self.chain.funded("1")
            payload = signed_payload(self.chain, payer, asked_of(accepts["exact"])) | {"accepted": accepts["exact"]}
            offers.append((payer, task, payload))
        return offers

    def receipts(self, count: int) -> list[tuple[Any, str, dict[str, str]]]:
        """New payers, each with a task that was paid and failed, and its receipt: id, payment_id, jws."""
        if len(self._unspent) < count:
            offers = self.offers(60 if LONG else 15)
            submit = [[task, payload] for _, task, payload in offers]
            assert self.run(take_over=True, submit=submit, give_back=[task for _, task, _ in offers]) == 0
            for payer, task, _ in offers:
                found = self.rows(f"SELECT id, payment_id, jws FROM payment_receipt WHERE task_id = '{task}'")[0]
                self._unspent.append((payer, task, dict(zip(("id", "payment_id", "jws"), found, strict=True))))
        return [self._unspent.pop() for _ in range(count)]

    def rows(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "node.db") as database:
            return database.execute(query).fetchall()

    def stop(self) -> None:
        self._parent.stdin.close()
        self._parent.wait()


def asked_of(accepts: dict[str, Any]) -> PaymentRequirement:
    asset = Asset(
        accepts["network"], accepts["asset"], accepts["extra"]["name"], accepts["extra"]["version"], 6, NANOS_PER_USD
    )
    amount = int(accepts["amount"])
    return PaymentRequirement(
        *("", "", "", 10_000_000, amount, asset, accepts["payTo"], "", "", ""), expires_at_us=0, max_timeout_s=0
    )


def assert_each_moved_once(seller: Seller, offers: list[Offer], **how: Any) -> None:
    """After a restart and the clients' retries: by the chain first, then by the seller's own books."""
    submit = [[task, payload] for _, task, payload in offers]
    assert seller.run(take_over=True, submit=submit, **how) == 0
    usdc = seller.chain.usdc()
    for payer, task, _ in offers:
        assert usdc.functions.balanceOf(payer.address).call() == 990_000, task
        receipts = f"SELECT COUNT(*) FROM payment_receipt WHERE task_id = '{task}'"
        assert seller.rows(receipts) == [(1,)], task
        moved = f"SELECT SUM(usd_nanos) FROM movements WHERE from_account = 'wallet:{payer.address.lower()}'"
        assert seller.rows(moved) == [(10_000_000,)], task
    assert seller.rows("SELECT COUNT(*) FROM settlement WHERE point IN ('planned', 'signed', 'broadcast')") == [(0,)]


@dataclass
class Trial:
    """A command for the seller, and what holds once it was given again, to the end."""

    command: dict[str, Any]
    judged: Callable[[], None]


def exact(seller: Seller, **how: Any) -> Trial:
    return _paying(seller, seller.offers(AT_ONCE), how)


def onchain(seller: Seller) -> Trial:
    """Transfers of the payers' own, each claimed for a task."""
    offers: list[Offer] = []
    for task, accepts in seller.priced(AT_ONCE):
        payer = seller.chain.funded("1")
        offers.append((payer, task, claimed(seller.chain, payer, accepts["onchain"])))
    return _paying(seller, offers, {})


def receipt(seller: Seller) -> Trial:
    """What is left of earlier payments pays for tasks: once, and nothing moves on the chain."""
    spends = []
    tasks = seller.priced(AT_ONCE)
    for (payer, _, has), (task, accepts) in zip(seller.receipts(AT_ONCE), tasks, strict=True):
        message = eip712.SpendMessage(has["id"], 1, accepts["receipt"]["extra"]["quoteId"], 10_000_000)
        typed = eip712.spend_typed_data(message, 31337, jws.claimed_signer(has["jws"]))
        inner = {"receiptId": has["id"], "counter": 1, "signature": eip712.sign(typed, payer)}
        payload = {"x402Version": 2, "accepted": accepts["receipt"], "payload": inner}
        spends.append((payer, task, has["id"], payload))
    command = {"submit": [[task, payload] for _, task, _, payload in spends]}

    def judged() -> None:
        assert seller.run(take_over=True, **command) == 0
        for payer, task, receipt_id, _ in spends:
            assert usdc(seller, payer) == 990_000
            assert seller.rows(f"SELECT status, receipt_id FROM payment_intent WHERE task_id = '{task}'") == [
                ("paid", receipt_id)
            ]
            assert seller.rows(f"SELECT counter FROM delivery WHERE receipt_id = '{receipt_id}'") == [(1,)]
            assert left(seller, receipt_id) == 0

    return Trial(command, judged)


def failed(seller: Seller) -> Trial:
    """Tasks that are paid and fail: their price is on the receipt, once."""
    offers = seller.offers(AT_ONCE)
    command = {
        "submit": [[task, payload] for _, task, payload in offers],
        "give_back": [task for _, task, _ in offers],
    }

    def judged() -> None:
        assert_each_moved_once(seller, offers, give_back=command["give_back"])
        for _, task, _ in offers:
            ((receipt_id,),) = seller.rows(f"SELECT id FROM payment_receipt WHERE task_id = '{task}'")
            assert left(seller, receipt_id) == 10_000_000

    return Trial(command, judged)


def done_after_all(seller: Seller) -> Trial:
    """The price was given back, and then another worker did the work: it is taken again, once."""
    owners = seller.receipts(AT_ONCE)
    command = {"book": [task for _, task, _ in owners]}

    def judged() -> None:
        assert seller.run(take_over=True, **command) == 0
        for _, task, has in owners:
            assert left(seller, has["id"]) == 0
            assert seller.rows(f"SELECT SUM(revenue_usd_nanos) FROM economic_events WHERE task_id = '{task}'") == [
                (10_000_000,)
            ]

    return Trial(command, judged)


def refund(seller: Seller) -> Trial:
    """What is left goes back on the chain, once; the receipt is burned."""
    wishes = []
    for payer, _, has in seller.receipts(AT_ONCE):
        typed = eip712.refund_typed_data(has["id"], 31337, jws.claimed_signer(has["jws"]))
        wishes.append((payer, has, eip712.sign(typed, payer)))
    command = {"refund": [[has["payment_id"], signature] for _, has, signature in wishes]}

    def judged() -> None:
        assert seller.run(take_over=True, **command) == 0
        for payer, has, _ in wishes:
            assert usdc(seller, payer) == 1_000_000
            assert left(seller, has["id"]) == 0
            refunds = f"SELECT COUNT(*) FROM refund WHERE receipt_id = '{has['id']}'"
            back = f"SELECT SUM(usd_nanos) FROM movements WHERE to_account = 'wallet:{payer.address.lower()}'"
            assert (seller.rows(refunds), seller.rows(back)) == ([(1,)], [(10_000_000,)])

    return Trial(command, judged)


TRIALS: dict[str, Callable[[Seller], Trial]] = {
    "onchain": onchain,
    "receipt": receipt,
    "failed": failed,
    "done after all": done_after_all,
    "refund": refund,
}


def usdc(seller: Seller, payer: Any) -> int:
    return int(seller.chain.usdc().functions.balanceOf(payer.address).call())


def left(seller: Seller, receipt_id: str) -> int:
    purse = "SELECT limit_usd_nanos - spent_usd_nanos - held_usd_nanos FROM budgets WHERE id"
    return int(seller.rows(f"{purse} = 'receipt:{receipt_id}'")[0][0])


def _paying(seller: Seller, offers: list[Offer], how: dict[str, Any]) -> Trial:
    command = {"submit": [[task, payload] for _, task, payload in offers], **how}
    return Trial(command, lambda: assert_each_moved_once(seller, offers, **how))
