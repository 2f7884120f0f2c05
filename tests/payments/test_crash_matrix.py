"""kill -9 of the seller at each point of its journal, and at any time: the chain says that each payment moved once."""

from __future__ import annotations

import ast
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_trials import AT_ONCE, TRIALS, Seller, assert_each_moved_once, exact
from faulty_facilitator import FaultyFacilitator
from rpc_proxy import RpcProxy, refused

import agentnode.payments.facilitators.courier
import agentnode.payments.receipts.refunds
import agentnode.payments.receipts.spends
import agentnode.payments.settling.ends
import agentnode.payments.settling.journal
import agentnode.payments.settling.reconciler
import agentnode.payments.settling.sending
from tests.devchain.devchain_process import ChainProcess
from tests.rounds import LONG

_HOUSE = Path(__file__).parent.parent.parent
_OWN = ["planned", "signed", "broadcast", "confirmed", "receipted", "returned", "failed", "looked", "searched"]
_CARRIED = ["planned", "broadcast", "confirmed", "receipted", "passed_on"]
_LATER = ["reorged", "abandoned", "unclaimed"]
_SCHEMES = {
    "onchain": ["planned", "confirmed", "receipted", "beat"],
    "receipt": ["spent"],
    "failed": ["given_back"],
    "done after all": ["taken_again"],
    "refund": ["planned", "signed", "broadcast", "confirmed"],
}
_BY_SCHEME = [(trial, point) for trial, points in _SCHEMES.items() for point in points]
_WAITS_TOO_LONG = {"withdrawn"}
"""A replacement is made after twenty seconds, and withdrawn where the chain refuses it."""
RANDOM_TIMES = 500 if LONG else 7


@pytest.fixture(scope="module")
def seller(chain: ChainProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seller]:
    made = Seller(tmp_path_factory.mktemp("matrix-seller"), chain)
    yield made
    made.stop()


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
def test_killed_while_it_looks_after_what_has_ended(chain: ChainProcess, tmp_path: Path, point: str) -> None:
    """Reorganised, closed unused, or forgotten: the next process finds the same, and writes it once."""
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


@pytest.mark.parametrize(("trial", "point"), _BY_SCHEME if LONG else _BY_SCHEME[1::2])
def test_killed_at_a_point_of_every_other_scheme(seller: Seller, trial: str, point: str) -> None:
    """Transfers of the payers' own, receipts that pay for tasks, failed tasks, refunds: the next process ends them."""
    made = TRIALS[trial](seller)
    assert seller.run(take_over=True, **made.command, die_at=point) == -9
    made.judged()


@pytest.mark.timeout(3_600)
def test_killed_at_any_time_each_payment_moves_once(
    seller: Seller, record_property: Callable[[str, object], None]
) -> None:
    """At random times, spread over the schemes, our own queue and another facilitator."""
    chance = random.Random(20261124)
    killed, began = 0, time.monotonic()
    with FaultyFacilitator(seller.chain) as facilitator:
        trials = [exact, lambda of: exact(of, facilitators=[facilitator.url]), *TRIALS.values()]
        for number in range(RANDOM_TIMES):
            made = trials[number % len(trials)](seller)
            dies = chance.uniform(0.001, 0.35)
            killed += seller.run(take_over=True, **made.command, die_after_s=dies) == -9
            made.judged()
    took_s = time.monotonic() - began
    record_property("figure", f"{killed} of {RANDOM_TIMES} killed in {took_s:.0f} s, each payment moved once")
    assert killed > RANDOM_TIMES // 3  # what needs no block may be done before


def test_every_write_of_the_journal_has_its_point_and_the_matrix_names_it() -> None:
    """A new write without a point, or a point at which nobody was killed, fails here."""
    named: set[str] = set()
    settling, receipts = agentnode.payments.settling, agentnode.payments.receipts
    for module in (settling.journal, settling.ends, receipts.spends, receipts.refunds):
        for method in _methods(module):
            writes = any(isinstance(node, ast.Attribute) and node.attr == "write" for node in ast.walk(method))
            points = [call for call in _calls(method) if _name(call) in ("point", "_points")]
            assert not writes or points, f"{module.__name__}.{method.name} writes and has no point"
            named |= {call.args[0].value for call in points if isinstance(call.args[0], ast.Constant)}
    # `Ends._change` and `Journal._unpaid` are told their point's name
    named |= {"reorged", "confirmed", "abandoned", "failed"}
    assert named - _WAITS_TOO_LONG == {*_OWN, *_CARRIED, *_LATER, *(point for _, point in _BY_SCHEME)} - {"receipted"}


def test_nothing_is_broadcast_that_was_not_journaled_before() -> None:
    """Each function that sends a transaction or hands one over has written it, or is given what was written."""
    senders = {
        "sending": {"_first_broadcasts": "made", "_broadcast_again": "dropped", "_replace": "signed"},
        "reconciler": {"_send_again": "attempts"},
        "courier": {"_carry": "broadcast"},
    }
    found: dict[str, set[str]] = {}
    for module in (
        agentnode.payments.settling.sending,
        agentnode.payments.settling.reconciler,
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
