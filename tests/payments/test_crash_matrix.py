"""kill -9 of the seller at each point of its journal, and at any time: the chain says that each payment moved once."""

from __future__ import annotations

import ast
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_facilitator import FaultyFacilitator
from payments_world import signed_payload
from rpc_proxy import RpcProxy, refused

import agentnode.payments.ends
import agentnode.payments.facilitators.courier
import agentnode.payments.journal
import agentnode.payments.reconciler
import agentnode.payments.sending
from agentnode.payments.requirement import PaymentRequirement
from ledger.money import Asset
from tests.devchain.devchain_process import ChainProcess
from tests.rounds import LONG

_HOUSE = Path(__file__).parent.parent.parent
_OWN = ["planned", "signed", "broadcast", "confirmed", "receipted", "returned", "failed", "looked", "searched"]
_CARRIED = ["planned", "broadcast", "confirmed", "receipted", "passed_on"]
_LATER = ["reorged", "abandoned", "unclaimed"]
_WAITS_TOO_LONG = {"withdrawn"}
"""A replacement is made after twenty seconds, and withdrawn where the chain refuses it."""
RANDOM_TIMES = 500 if LONG else 4
AT_ONCE = 3


class Seller:
    """A folder with a journal, and the warm parent of all its processes."""

    def __init__(self, folder: Path, chain: ChainProcess) -> None:
        self.folder = folder
        self.chain = chain
        self._tasks = 0
        self._priced: list[tuple[str, dict[str, Any]]] = []
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.payments.crash_parent", str(folder), chain.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_HOUSE,
        )
        assert self.run(upgrade=True) == 0

    def run(self, **command: Any) -> int:
        """How a process that did this ended."""
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(command) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def offers(self, count: int) -> list[tuple[Any, str, dict[str, Any]]]:
        """New payers, each with the task it pays for and its payload."""
        if len(self._priced) < count:
            tasks = [f"task_{self._tasks + n}" for n in range(60)]
            self._tasks += len(tasks)
            assert self.run(require=tasks, take_over=True) == 0
            self._priced += zip(tasks, json.loads((self.folder / "asked.json").read_text()), strict=True)
        offers = []
        for task, accepts in [self._priced.pop() for _ in range(count)]:
            payer = self.chain.funded("1")
            offers.append((payer, task, signed_payload(self.chain, payer, asked_of(accepts))))
        return offers

    def rows(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "node.db") as database:
            return database.execute(query).fetchall()

    def stop(self) -> None:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(timeout=20)
        self._parent.stdout.close()


def asked_of(accepts: dict[str, Any]) -> PaymentRequirement:
    asset = Asset(accepts["network"], accepts["asset"], accepts["extra"]["name"], accepts["extra"]["version"], 6)
    amount = int(accepts["amount"])
    return PaymentRequirement(
        *("", "", "", 10_000_000, amount, asset, accepts["payTo"], "", "", ""), expires_at_us=0, max_timeout_s=0
    )


@pytest.fixture(scope="module")
def seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seller]:
    chain = ChainProcess(tmp_path_factory.mktemp("matrix-chain"))
    made = Seller(tmp_path_factory.mktemp("matrix-seller"), chain)
    yield made
    made.stop()
    chain.stop()


def assert_each_moved_once(seller: Seller, offers: list[tuple[Any, str, dict[str, Any]]], **how: Any) -> None:
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


@pytest.mark.parametrize("point", _OWN if LONG else _OWN[::2])
def test_killed_at_a_point_while_our_own_queue_settles(seller: Seller, point: str) -> None:
    """Three payments at once; the next process finishes them."""
    rule: Callable[[dict[str, Any]], Any] = lambda request: None  # noqa: E731
    if point in ("returned", "failed"):
        rule = lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None  # noqa: E731
    offers = seller.offers(AT_ONCE)
    submit = [[task, payload] for _, task, payload in offers]
    with RpcProxy(seller.chain.url, rule) as rpc:
        due = 1 if point == "looked" else 0
        assert seller.run(rpc=rpc.url, take_over=True, submit=submit, due=due, die_at=point) == -9
    assert_each_moved_once(seller, offers)


@pytest.mark.parametrize("point", _CARRIED if LONG else _CARRIED[::2])
def test_killed_at_a_point_while_another_facilitator_settles(seller: Seller, point: str) -> None:
    """What was handed over is asked of the chain; nobody pays twice.

    One alone, where another that was killed while it was handed over to nobody would be waited for, until its window
    closes.
    """
    offers = seller.offers(1 if point == "passed_on" else AT_ONCE)
    submit = [[task, payload] for _, task, payload in offers]
    with FaultyFacilitator(seller.chain) as facilitator:
        urls = ["http://127.0.0.1:1", facilitator.url] if point == "passed_on" else [facilitator.url]
        assert seller.run(facilitators=urls, take_over=True, submit=submit, die_at=point) == -9
        assert_each_moved_once(seller, offers, facilitators=urls)


@pytest.mark.parametrize("point", _LATER if LONG else _LATER[::2])
def test_killed_while_it_looks_after_what_has_ended(tmp_path: Path, point: str) -> None:
    """Reorganised, closed unused, or forgotten: the next process finds the same, and writes it once."""
    chain = ChainProcess(tmp_path / "chain")
    (tmp_path / "seller").mkdir()
    seller = Seller(tmp_path / "seller", chain)
    try:
        offers = seller.offers(1)
        submit = [[task, payload] for _, task, payload in offers]
        snapshot = chain.rpc("evm_snapshot")["result"]
        if point == "abandoned":
            rule = refused("no")
            with RpcProxy(chain.url, lambda r: rule if r["method"] == "eth_sendRawTransaction" else None) as rpc:
                assert seller.run(rpc=rpc.url, take_over=True, submit=submit, die_at="failed") == -9
            seller.rows("UPDATE settlement SET valid_before_s = 1")
        else:
            assert seller.run(take_over=True, submit=submit) == 0
        if point == "unclaimed":
            for table in ("settlement", "settlement_attempt", "payment_receipt", "movements"):
                seller.rows(f"DELETE FROM {table}")
        if point == "reorged":
            chain.rpc("evm_revert", snapshot)
        assert seller.run(take_over=True, due=1, die_at=point) == -9
        assert seller.run(take_over=True, due=3) == 0
        ends = {"reorged": "confirmed", "abandoned": "abandoned", "unclaimed": "confirmed"}
        assert seller.rows("SELECT point FROM settlement") == [(ends[point],)]
        left = 1_000_000 if point == "abandoned" else 990_000
        assert chain.usdc().functions.balanceOf(offers[0][0].address).call() == left
        booked = seller.rows(
            "SELECT SUM(CASE WHEN to_account = 'tenant:node' THEN usd_nanos ELSE -usd_nanos END) FROM movements"
        )
        assert booked == [(10_000_000 if point == "reorged" else None,)]
    finally:
        seller.stop()
        chain.stop()


@pytest.mark.timeout(3_600)
def test_killed_at_any_time_each_payment_moves_once(
    seller: Seller, record_property: Callable[[str, object], None]
) -> None:
    """At random times, spread over our own queue and another facilitator."""
    chance = random.Random(20261124)
    killed, began = 0, time.monotonic()
    with FaultyFacilitator(seller.chain) as facilitator:
        for number in range(RANDOM_TIMES):
            how = {"facilitators": [facilitator.url]} if number % 2 else {}
            offers = seller.offers(AT_ONCE)
            submit = [[task, payload] for _, task, payload in offers]
            dies = chance.uniform(0.001, 0.35)
            killed += seller.run(take_over=True, submit=submit, die_after_s=dies, **how) == -9
            assert_each_moved_once(seller, offers, **how)
    took_s = time.monotonic() - began
    record_property("figure", f"{killed} of {RANDOM_TIMES} killed in {took_s:.0f} s, each payment moved once")
    assert killed > RANDOM_TIMES // 2


def test_every_write_of_the_journal_has_its_point_and_the_matrix_names_it() -> None:
    """A new write without a point, or a point at which nobody was killed, fails here."""
    named: set[str] = set()
    for module in (agentnode.payments.journal, agentnode.payments.ends):
        for method in _methods(module):
            writes = any(isinstance(node, ast.Attribute) and node.attr == "write" for node in ast.walk(method))
            points = [call for call in _calls(method) if _name(call) in ("point", "_points")]
            assert not writes or points, f"{module.__name__}.{method.name} writes and has no point"
            named |= {call.args[0].value for call in points if isinstance(call.args[0], ast.Constant)}
    # `Ends._change` is told its point's name
    named |= {"reorged", "confirmed", "abandoned"}
    assert named - _WAITS_TOO_LONG == {*_OWN, *_CARRIED, *_LATER} - {"receipted"}


def test_nothing_is_broadcast_that_was_not_journaled_before() -> None:
    """Each function that sends a transaction or hands one over has written it, or is given what was written."""
    senders = {
        "sending": {"_first_broadcasts": "made", "_broadcast_again": "dropped", "_replace": "signed"},
        "reconciler": {"_send_again": "attempts"},
        "courier": {"_carry": "broadcast"},
    }
    found: dict[str, set[str]] = {}
    for module in (
        agentnode.payments.sending,
        agentnode.payments.reconciler,
        agentnode.payments.facilitators.courier,
    ):
        name = module.__name__.rpartition(".")[2]
        for method in _methods(module):
            text = ast.unparse(method)
            if "broadcaster.send(" in text or "remote.settle(" in text:
                found.setdefault(name, set()).add(method.name)
                before = text.partition("broadcaster.send(")[0].partition("remote.settle(")[0]
                assert senders[name][method.name] in before, f"{name}.{method.name} sends what was not journaled"
    assert found == {name: set(methods) for name, methods in senders.items()}


def _methods(module: Any) -> list[ast.AsyncFunctionDef]:
    tree = ast.parse(Path(module.__file__).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]


def _calls(method: ast.AsyncFunctionDef) -> list[ast.Call]:
    return [node for node in ast.walk(method) if isinstance(node, ast.Call)]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""
