"""The scheme `receipt` over A2A, and failed tasks, whose price is a receipt of their payer."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from payments_world import OpenWallets, World, books, opened, signed_payload
from test_refunds import asked as refund_asked
from test_refunds import paid_over

from agentnode.payments import PaymentRefused, PaymentRequirement, QuoteExpired, Receipt
from agentnode.payments.errors import ReceiptNotBelieved
from ledger.accounts import receipt_budget
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.spend import Spend
from tests.devchain.devchain_process import ChainProcess
from tests.scenarios.node_process import NodeProcess, payload_for, requirement
from trust.signatures import eip712, jws


def spend_payload(
    payer: LocalAccount, receipt: Receipt, counter: int, asked: PaymentRequirement, version: int = 2
) -> dict[str, Any]:
    authority = jws.claimed_signer(receipt.jws)
    accepts = asked.accepts_v2("receipt")
    worth = int(accepts["amount"]) * 1_000
    message = eip712.SpendMessage(receipt.id, counter, accepts["extra"]["quoteId"], worth)
    signature = eip712.sign(eip712.spend_typed_data(message, 31337, authority), payer)
    # numbers as A2A's metadata has them: floats
    inner = {"receiptId": receipt.id, "counter": float(counter), "signature": signature}
    if version == 1:
        return {"x402Version": 1, "scheme": "receipt", "network": "base-sepolia", "payload": inner}
    return {"x402Version": 2.0, "accepted": accepts, "payload": inner}


async def left(world: World, receipt: Receipt) -> int:
    purse = await Spend(world.database, SystemClock(), "test").budget(receipt_budget(receipt.id).id)
    return purse.room_usd_nanos if purse is not None else 0


async def code(world: World, asked: PaymentRequirement, payload: dict[str, Any]) -> str:
    with pytest.raises(PaymentRefused) as told:
        await world.submit(asked, payload)
    return told.value.x402_code


@pytest.mark.database
@pytest.mark.parametrize("version", [1, 2])
async def test_a_receipt_pays_a_task_once_and_nothing_moves_on_the_chain(world: World, version: int) -> None:
    """The price leaves its purse; the same spend again is the same answer, for another task it is spent."""
    payer, receipt = await paid_over(world)
    before, one, other = world.usdc(payer.address), await world.require(), await world.require()
    payload = spend_payload(payer, receipt, 1, one, version)
    paid = await world.submit(one, payload)
    assert (paid.id, paid.task_id, paid.payment_id) == (receipt.id, one.task_id, one.payment_id)
    assert await world.submit(one, payload) == paid == await world.payments.task_gate.outcome(one.task_id)
    assert await world.payments.task_gate.receipts(one.task_id) == [paid]
    assert await code(world, other, spend_payload(payer, receipt, 1, other)) == "DUPLICATE_NONCE"
    assert await code(world, other, spend_payload(payer, receipt, 2, other)) == "INSUFFICIENT_FUNDS"
    assert (await left(world, receipt), world.usdc(payer.address), await books(world)) == (5_000_000, before, [])
    await world.payments.task_gate.book(one.task_id)
    assert await world.payments.task_gate.unbooked_usd_nanos(one.task_id) == 0


@pytest.mark.database
async def test_a_receipt_worth_two_tasks_pays_two_of_ten_at_once(world: World) -> None:
    payer, price = world.chain.funded("1"), await world.require()
    receipt = await world.submit(price, signed_payload(world.chain, payer, price))
    await world.payments.task_gate.give_back(price.task_id)
    _, more = await paid_over(world, payer)
    assert await left(world, receipt) == 10_000_000
    tasks = [await world.require() for _ in range(10)]
    spends = [spend_payload(payer, receipt, n + 1, task) for n, task in enumerate(tasks)]
    spends[9] = spend_payload(payer, more, 1, tasks[9])
    ends = await asyncio.gather(
        *(world.submit(t, s) for t, s in zip(tasks, spends, strict=True)), return_exceptions=True
    )
    assert [isinstance(end, Receipt) for end in ends].count(True) == 2, ends
    assert isinstance(ends[9], Receipt)
    assert (await left(world, receipt), await books(world)) == (0, [])


async def test_a_foreign_receipt_a_paid_task_and_a_closed_one_are_refused(world: World) -> None:
    """Only its payer spends it; who came second has spent nothing."""
    payer, receipt = await paid_over(world)
    thief, asked = world.chain.funded("1"), await world.require()
    assert await code(world, asked, spend_payload(thief, receipt, 1, asked)) == "INVALID_SIGNATURE"
    await world.submit(asked, signed_payload(world.chain, thief, asked))
    assert await code(world, asked, spend_payload(payer, receipt, 1, asked)) == "DUPLICATE_NONCE"
    closed = await world.require()
    await world.payments.task_gate.reject(closed.task_id)
    with pytest.raises(QuoteExpired):
        await world.submit(closed, spend_payload(payer, receipt, 1, closed))
    paid = await world.require()
    await world.submit(paid, spend_payload(payer, receipt, 1, paid))
    assert await code(world, paid, signed_payload(world.chain, thief, paid)) == "DUPLICATE_NONCE"


@pytest.mark.database
async def test_the_price_of_a_failed_task_is_the_payers_again(world: World) -> None:
    """Given back once, taken again where the work was done after all, and refunded on the chain."""
    payer, asked, gate = world.chain.funded("1"), await world.require(), world.payments.task_gate
    receipt = await world.submit(asked, signed_payload(world.chain, payer, asked))
    for _ in range(2):
        await gate.give_back(asked.task_id)
    assert (await left(world, receipt), await gate.unbooked_usd_nanos(asked.task_id)) == (10_000_000, 0)
    await gate.book(asked.task_id)
    assert (await left(world, receipt), await books(world)) == (0, [])
    await gate.give_back(asked.task_id)
    assert (await refund_asked(world, payer, receipt)).paid
    assert (world.usdc(payer.address), await books(world)) == (1_000_000, [])
    await gate.book(asked.task_id)  # the node bears it
    assert await books(world) == []


@pytest.mark.parametrize("folder_is_kept", [True, False])
async def test_a_restored_older_database_spends_no_receipt_twice(
    chain: ChainProcess, database: Database, tmp_path: Path, folder_is_kept: bool
) -> None:
    """Spent after the copy was made: the data folder, or the chain, says that it is older; later ones are good."""
    backup, wallets = tmp_path / "backup.db", OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        payer, receipt = await paid_over(world)
        with sqlite3.connect(database.path) as source:
            source.execute("VACUUM INTO ?", [str(backup)])
        if folder_is_kept:
            await world.payments.reconciler.start()
        else:
            (tmp_path / "journal.beat").unlink()
            price = await world.require()
            await world.submit(price, signed_payload(chain, chain.funded("1"), price))
        task = await world.require()
        await world.submit(task, spend_payload(payer, receipt, 1, task))
    shutil.copy(backup, tmp_path / "restored.db")
    restored = Database(f"sqlite:///{tmp_path / 'restored.db'}")
    async with opened(chain, restored, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        task = await world.require()
        with pytest.raises(ReceiptNotBelieved):
            await world.submit(task, spend_payload(payer, receipt, 1, task))
        with pytest.raises(ReceiptNotBelieved):
            await refund_asked(world, payer, receipt)
        later, fresh = await paid_over(world)
        await world.submit(task, spend_payload(later, fresh, 1, task))
        assert (await world.payments.refunds.give(receipt.payment_id)).paid
    await restored.close()


def test_over_a2a_a_task_that_failed_pays_the_next_one(failing: NodeProcess) -> None:
    """Paid, and its skill broke: its receipt pays the next task, and no second transfer is made."""
    chain = failing.chain
    payer, broken = chain.funded("1"), failing.send("break", metadata={"skill": "fragile"})
    task = failing.until(failing.pay(broken, payload_for(chain, payer, requirement(broken)))["id"], "failed")
    settled = task["status"]["message"]["metadata"]["x402.payment.receipts"][0]
    shown = failing.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
    assert (shown["left_usd_exact"], shown["used_usd_exact"]) == ("0.01", "0")
    again = failing.send("work", metadata={"skill": "fragile"})
    accepts = next(
        each
        for each in again["status"]["message"]["metadata"]["x402.payment.required"]["accepts"]
        if each["scheme"] == "receipt"
    )
    message = eip712.SpendMessage(settled["receiptId"], 1, accepts["extra"]["quoteId"], 10_000_000)
    typed = eip712.spend_typed_data(message, 31337, jws.claimed_signer(settled["receipt"]))
    inner = {"receiptId": settled["receiptId"], "counter": 1, "signature": eip712.sign(typed, payer)}
    done = failing.until(
        failing.pay(again, {"x402Version": 2, "accepted": accepts, "payload": inner})["id"], "completed"
    )
    receipts = done["status"]["message"]["metadata"]["x402.payment.receipts"]
    assert [each["transaction"] for each in receipts] == [settled["transaction"]]
    assert "no transfer is its own" in failing.http.get(f"/api/v2/evidence/tasks/{again['id']}").text
    assert chain.usdc().functions.balanceOf(payer.address).call() == 990_000
