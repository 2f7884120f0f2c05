"""A hire that ends anywhere, by kill -9 or by silence, comes to one end: paid and counted, or neither."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hire_mandates import granted, standing
from hire_world import BuyerNode, SellerProcess, Wallet, buyer_node
from test_hire import PRICE, PRICE_NANOS, day, rows, work

from agentnode.hire.ending import chain_time_s, verdict
from agentnode.hire.errors import CallEnded
from ledger.database import Database
from ledger.events import Events
from ledger.money import Asset
from tests.forked import Program
from tests.ledger.parts import LaterClock
from tests.node_keys import keys_folder
from trust.chain import ChainView
from trust.errors import ChainUnavailable

WINDOW_S = 3


async def settled(node: BuyerNode) -> None:
    """Rounds of the recovery until no call is open. The window of a payment must pass on the chain's clock."""
    while await rows(node, "SELECT id FROM hire_call WHERE point IN ('planned', 'signed')"):
        await node.buyer.settle_open_calls()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("point", "paid", "mandated"),
    [
        ("planned", False, True),
        ("marked", False, True),
        ("signed", False, True),
        ("submitted", True, True),
        ("paid", True, True),
        ("marked", False, False),
        ("submitted", True, False),
    ],
)
async def test_a_buyer_killed_at_any_point_pays_once_and_counts_it_or_neither(
    point: str,
    paid: bool,
    mandated: bool,
    database: Database,
    database_url: str,
    chain_url: str,
    chain_info: dict[str, Any],
    asset: Asset,
    wallet: Wallet,
    seller: SellerProcess,
) -> None:
    # Two minutes later, when the lease of a planned call has run out.
    async with buyer_node(database, chain_url, asset, wallet, clock=LaterClock(130)) as node:
        mandate_id = await granted(node, wallet.address) if mandated else ""
        before = await node.chain.balance(asset.address, wallet.address)
        where = (point, database_url, str(keys_folder()), chain_url, json.dumps(chain_info), wallet.private_key)
        worker = Program("hire_worker", *where, seller.card_url, "ask", mandate_id, str(WINDOW_S))
        assert await asyncio.to_thread(worker.wait) == -9, "the worker dies where it is told"

        await settled(node)
        await asyncio.gather(*(node.buyer.settle_open_calls() for _ in range(3)))

        moved = before - await node.chain.balance(asset.address, wallet.address)
        assert moved == (PRICE if paid else 0)
        spent_and_held = await standing(node, mandate_id) if mandated else await day(node)
        assert spent_and_held == (PRICE_NANOS if paid else 0, 0)
        events = (await Events(database).list("t")).events
        assert [event.cost_usd_nanos for event in events] == ([PRICE_NANOS] if paid else [])
        ((call_id, state),) = await rows(node, "SELECT id, point FROM hire_call")
        assert state == ("paid" if paid else "released")
        call = await node.buyer.call("t", call_id)
        assert call["status"] == ("completed" if paid else "failed")
        assert not paid or call["task"]["text"] == "the work"


@pytest.mark.parametrize(("skill", "fate"), [("silent", "failed"), ("refuse", "failed"), ("unpaid", "completed")])
async def test_a_payment_that_nobody_took_is_given_back_once_its_window_is_past_on_chain(
    skill: str,
    fate: str,
    database: Database,
    chain_url: str,
    asset: Asset,
    wallet: Wallet,
    seller: SellerProcess,
) -> None:
    async with buyer_node(database, chain_url, asset, wallet, window_s=WINDOW_S, follow_s=1) as node:
        result = await node.buyer.hire("t", work(seller, skill))
        assert (result["status"], result["payment"]["status"]) == ("pending", "pending")
        assert await day(node) == (0, PRICE_NANOS)
        await settled(node)
        assert await day(node) == (0, 0)
        call = await node.buyer.call("t", result["call_id"])
        assert (call["status"], call["payment"]["status"]) == (fate, "released")
        assert call["payment"]["amount_usd"] == 0


async def test_a_chain_that_does_not_answer_refuses_before_the_signature_and_ends_nothing_after_it(
    node: BuyerNode, database: Database, asset: Asset, wallet: Wallet, seller: SellerProcess
) -> None:
    """Promise 9: cannot check is never allowed, nor ended."""
    async with buyer_node(database, "http://127.0.0.1:1", asset, wallet) as blind:
        sent = len(seller.payloads())
        with pytest.raises(ChainUnavailable):
            await blind.buyer.hire("t", work(seller, "ask"))
        assert len(seller.payloads()) == sent
        assert await rows(node, "SELECT id FROM hire_call") == []
        await node.buyer.hire("t", work(seller, "silent"))
        assert await blind.buyer.settle_open_calls() == 0
        assert await day(node) == (0, PRICE_NANOS)


async def test_a_call_that_a_recovery_took_over_can_no_longer_be_signed(
    database: Database, chain_url: str, asset: Asset, wallet: Wallet, seller: SellerProcess
) -> None:
    """A buyer that stood still past its lease learns that its call was ended, and sends nothing."""
    async with buyer_node(database, chain_url, asset, wallet, clock=LaterClock(130)) as later:
        slow = SlowWallet(wallet, later)
        async with buyer_node(database, chain_url, asset, slow) as node:
            sent = len(seller.payloads())
            with pytest.raises(CallEnded):
                await node.buyer.hire("t", work(seller, "ask"))
            assert len(seller.payloads()) == sent
            assert slow.recovered == 1
            assert await day(node) == (0, 0)


class SlowWallet(Wallet):
    """Takes so long to sign that a recovery comes first."""

    def __init__(self, wallet: Wallet, later: BuyerNode) -> None:
        super().__init__(wallet.private_key)
        self._later = later
        self._loop = asyncio.get_running_loop()
        self.recovered = 0

    def account(self, name: str) -> Any:
        return self

    def sign_typed_data(self, **given: Any) -> Any:
        coming_first = asyncio.run_coroutine_threadsafe(self._later.buyer.settle_open_calls(), self._loop)
        self.recovered = coming_first.result(20)
        return self._account.sign_typed_data(**given)


@pytest.mark.parametrize(
    ("used", "now_s", "expected"),
    [(True, 0, "used"), (True, 10**9, "used"), (False, 129, "open"), (False, 130, "lapsed"), (False, 100, "open")],
)
def test_an_unused_authorisation_lapses_when_its_window_and_the_reorg_margin_are_past(
    used: bool, now_s: int, expected: str
) -> None:
    assert verdict(used, now_s, 100, 30) == expected


async def test_the_chains_time_goes_on_while_it_makes_no_blocks(chain_url: str) -> None:
    """The embedded chain mines on demand: its head's time alone would never end an unused payment."""
    view = ChainView(chain_url, 31337)
    assert abs(await chain_time_s(view) - time.time()) < 30
    await view.aclose()
