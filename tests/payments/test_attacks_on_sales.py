"""What is tried between a payment over HTTP and its delivery: slow work, old prices, a process that dies, no return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from a_stall import LEASE_S, Later, Stall, paying, said
from payments_world import opened
from sqlmodel import text
from starlette.types import Receive, Scope, Send
from test_journal_ends import looked
from test_receipts_pay_tasks import code, spend_payload
from test_refunds import asked as refund_asked
from test_refunds import paid_over

from agentnode.payments import HttpGate, PaymentRefused, SettlementPending
from agentnode.payments.taking.sales import Sale
from ledger.database import Database
from ledger.spend import Hold, Spend, Sweeper
from tests.devchain.devchain_process import ChainProcess
from tests.payments.paid_http import spend_of
from tests.scenarios.node_process import payload_for
from trust.keys import NodeKeys
from trust.signatures import eip712, jws


@pytest.fixture
async def stall(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[Stall]:
    keys, clock = NodeKeys.open(tmp_path / "keys", "test"), Later()
    async with opened(chain, database, tmp_path, keys=keys) as world:
        spend = Spend(database, clock, "stall")
        await spend.start()
        yield Stall(world, keys, spend, clock)
        await spend.close()


async def test_work_that_takes_long_is_charged(stall: Stall) -> None:
    """What it costs is held for as long as it lasts: no sweep gives the price back before the answer is whole."""
    stall._lease_s = LEASE_S
    accepts, swept = await stall.accepts(), 0

    async def renewed() -> None:
        """At the latest after a third of a lease of the world's time."""
        for _ in range(100):
            [hold] = await stall.spend.holds(state="held")
            if hold.lease_until_us > stall.clock.now_us() + LEASE_S * 1_500_000:
                return
            await asyncio.sleep(0.02)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal swept
        for _ in range(3):
            stall.clock.pass_s(LEASE_S)
            await renewed()
        swept = await Sweeper(stall.world.database, stall.spend, stall.clock).sweep()
        await said(200, b"at last")(scope, receive, send)

    payer = stall.world.chain.funded("1")
    reply = await stall.ask(slow, paying(payload_for(stall.world.chain, payer, accepts)))
    assert (reply.status, reply.content, swept) == (200, b"at last", 0)
    assert (await stall.purse(reply.receipt_id)).room_usd_nanos == 0


class DiesOnceItHasCharged(HttpGate):
    charged = asyncio.Event()

    async def charge(self, sale: Sale, hold: Hold) -> None:
        await super().charge(sale, hold)
        self.charged.set()
        await asyncio.Event().wait()


async def test_who_was_charged_for_an_answer_has_it_though_the_process_died(stall: Stall) -> None:
    """Charged, and dead before the last part left: the same payment gets the answer from another process."""
    payer, accepts = stall.world.chain.funded("1"), await stall.accepts()
    payment = paying(payload_for(stall.world.chain, payer, accepts))
    dies = DiesOnceItHasCharged
    dies.charged.clear()
    died = asyncio.create_task(stall.ask(said(200, b"the answer"), payment, gate=stall.gate(dies)))
    await dies.charged.wait()
    stall.clock.pass_s(61)
    again = await stall.ask(said(200, b"made again"), payment)
    assert (again.status, again.content) == (200, b"the answer")
    assert (await stall.purse(again.receipt_id)).spent_usd_nanos == 10_000_000
    assert stall.world.usdc(payer.address) == 990_000
    died.cancel()
    await asyncio.gather(died, return_exceptions=True)


async def test_a_payment_that_is_not_delivered_yet_buys_at_the_price_it_was_made_for(stall: Stall) -> None:
    """Sent again with a quote of when it was cheaper, before it paid and after."""
    payer = stall.world.chain.funded("1")
    stall.price_usd_nanos = 4_000_000
    cheap = await stall.accepts()
    stall.price_usd_nanos = 10_000_000
    payload = payload_for(stall.world.chain, payer, await stall.accepts())
    assert (await stall.ask(said(200, b""), paying({**payload, "accepted": cheap}))).status == 402
    failed = await stall.ask(said(500, b"not now"), paying(payload))
    assert (failed.status, (await stall.purse(failed.receipt_id)).room_usd_nanos) == (500, 10_000_000)
    served = await stall.ask(said(200, b"it"), paying({**payload, "accepted": cheap}))
    assert (served.status, (await stall.purse(failed.receipt_id)).room_usd_nanos) == (200, 0)


async def test_a_purchase_that_nobody_came_back_for_is_its_payers_all_the_same(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Settled after its buyer was told to wait, and never sent again: it has a receipt, which is refunded."""
    keys, clock = NodeKeys.open(tmp_path / "keys", "test"), Later()
    async with opened(chain, database, tmp_path, keys=keys, settle_timeout_s=0.1, queue_runs=False) as world:
        spend = Spend(database, clock, "stall")
        await spend.start()
        stall, payer = Stall(world, keys, spend, clock), chain.funded("1")
        payload = payload_for(chain, payer, await stall.accepts())
        assert (await stall.ask(said(200, b"it"), paying(payload))).status == 409
        settling = asyncio.create_task(world.payments.run())
        async with asyncio.timeout(20):
            while [entry.point for entry in await world.journal()] != ["confirmed"]:
                await asyncio.sleep(0.02)
        assert await looked(world) == await looked(world) == ["confirmed"]
        [standing] = await world.payments.balances.of_payer(payer.address)
        assert standing.left_usd_nanos == 10_000_000
        given = await refund_asked(world, payer, standing.receipt)
        assert given.row.amount_usd_nanos == 10_000_000 and given.entry.payee == payer.address.lower()
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        await spend.close()


@pytest.mark.database
async def test_what_was_paid_on_another_network_is_worth_nothing_here(stall: Stall) -> None:
    """The node was put on another chain with the same folder: receipts of test money buy and give back nothing."""
    world = stall.world
    payer, receipt = await paid_over(world)
    async with world.database.write() as session:
        moved = text("UPDATE payment_receipt SET network = 'eip155:84532'")
        await session.exec(moved)  # type: ignore[call-overload]
    task = await world.require()
    assert await code(world, task, spend_payload(payer, receipt, 1, task)) == "NETWORK_MISMATCH"
    accepts = {**await stall.accepts(), "scheme": "receipt"}
    typed = spend_of(receipt.id, 1, accepts["extra"]["quoteId"], 10_000_000, jws.claimed_signer(receipt.jws))
    inner = {"receiptId": receipt.id, "counter": 1, "signature": eip712.sign(typed, payer)}
    refused = await stall.ask(said(200, b"it"), paying({"x402Version": 2, "accepted": accepts, "payload": inner}))
    assert (refused.status, refused.said("payment-response")["errorReason"]) == (402, "NETWORK_MISMATCH")
    with pytest.raises(PaymentRefused, match="NETWORK_MISMATCH"):
        await refund_asked(world, payer, receipt)
    with pytest.raises(PaymentRefused, match="NETWORK_MISMATCH"):
        await world.payments.refunds.give(receipt.payment_id)


async def test_a_transfer_that_was_mined_again_is_refunded_once_it_is_deep_there(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """After a reorganisation its block is another one, and younger."""
    async with opened(chain, database, tmp_path, transfer_confirmations=3) as world:
        payments, payer, asked = world.payments, chain.funded("1"), await world.require()
        snapshot = chain.rpc("evm_snapshot")["result"]
        receipt = await world.submit(asked, payload_for(chain, payer, asked.accepts_v2()))
        await payments.task_gate.give_back(asked.task_id)
        chain.rpc("evm_revert", snapshot)
        await looked(world)
        for _ in range(3):
            chain.rpc("evm_mine")
        await looked(world)
        assert await looked(world) == ["confirmed"]
        with pytest.raises(SettlementPending):
            await refund_asked(world, payer, receipt)
        for _ in range(2):
            chain.rpc("evm_mine")
        assert (await refund_asked(world, payer, receipt)).paid
