"""What has ended is asked about until nothing can change it: undone blocks, late transfers, closed windows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from payments_world import OpenWallets, World, books, opened, signed_payload, stranger
from rpc_proxy import RpcProxy, refused
from sqlmodel import select, text

from agentnode.payments import RECEIPT_TYP, PaymentRefused, SettlementPending
from agentnode.payments.ledger_check import check_ledger
from ledger.database import Database
from ledger.movements import Movement
from tests.devchain.devchain_process import ChainProcess
from tests.payments.strangers import BYTES_OVERLOAD, by_stranger
from trust.signatures import jws


async def looked(world: World, **columns: Any) -> list[str]:
    """The points of all entries after a round in which all that is watched is due."""
    sets = "".join(f", {name} = {value}" for name, value in columns.items())
    async with world.database.write() as session:
        due = text(f"UPDATE settlement SET look_at_us = 0{sets} WHERE look_at_us IS NOT NULL")
        await session.exec(due)  # type: ignore[call-overload]
    await world.payments.reconciler.tick()
    return await points(world)


async def points(world: World) -> list[str]:
    return [entry.point for entry in await world.journal()]


async def booked(world: World) -> int:
    """What the operator has from payers, by the movements."""
    async with world.database.read() as session:
        rows = (await session.exec(select(Movement))).all()
    return sum(row.usd_nanos * (1 if row.to_account == "tenant:node" else -1) for row in rows)


async def paid_then_undone(world: World, **window: Any) -> tuple[Any, Any, Any]:
    """A payment with its receipt, whose block the chain then undid."""
    payer, asked = world.chain.funded("1"), await world.require()
    snapshot = world.chain.rpc("evm_snapshot")["result"]
    receipt = await world.submit(asked, signed_payload(world.chain, payer, asked, **window))
    assert (await looked(world), await booked(world)) == (["confirmed"], 10_000_000)
    world.chain.rpc("evm_revert", snapshot)
    return payer, asked, receipt


@pytest.mark.database
async def test_a_payment_whose_block_was_undone_is_reorged_its_receipt_void_and_sent_again(world: World) -> None:
    """The state says so, what was booked is booked back; the same bytes are sent again, and pay again, once."""
    payer, asked, receipt = await paid_then_undone(world)
    gate = world.payments.task_gate
    assert await looked(world) == ["reorged"]
    status = await gate.status(asked.payment_id)
    assert (status["status"], status["settlement"]["amount_settled"]) == ("reorged", "0")
    assert [one.void for one in await gate.receipts(asked.task_id)] == [True]
    assert await booked(world) == 0
    with pytest.raises(SettlementPending):
        await gate.outcome(asked.task_id)

    assert await looked(world) == ["reorged"]  # sent again
    assert await looked(world) == ["confirmed"]
    assert await gate.receipts(asked.task_id) == [receipt]
    assert (await booked(world), world.usdc(payer.address)) == (10_000_000, 990_000)


@pytest.mark.database
async def test_an_undone_payment_whose_account_nonce_another_has_is_signed_anew_and_booked_once(world: World) -> None:
    """The old bytes can never be mined. Who asks for the receipt meanwhile has to wait; then it is the same, for the
    transaction that paid, and the books are whole."""
    payer, asked, receipt = await paid_then_undone(world)
    [undone] = await world.journal()
    other, also = world.chain.funded("1"), await world.require()
    await world.submit(also, signed_payload(world.chain, other, also))
    assert await points(world) == ["confirmed", "confirmed"]
    assert (await world.journal())[1].account_nonce == undone.account_nonce
    gate = world.payments.task_gate

    assert await looked(world) == ["reorged", "confirmed"]
    with pytest.raises(SettlementPending):
        await gate._book.receipt(asked, undone)
    await looked(world)
    anew = (await world.journal())[0]
    paid = await world.payments.facilitator.end_of(anew)
    [told] = await gate.receipts(asked.task_id)
    assert (told.id, told.void, told.tx_hash != receipt.tx_hash) == (receipt.id, False, True)
    assert jws.verify(told.jws, did=jws.claimed_signer(receipt.jws), typ=RECEIPT_TYP)["transaction"] == paid.tx_hash
    assert (await gate.status(asked.payment_id))["status"] == "paid"
    assert [check.claim for check in await check_ledger(world.database) if not check.ok] == []
    assert (await booked(world), world.usdc(payer.address)) == (20_000_000, 990_000)
    assert await looked(world) == ["confirmed", "confirmed"]


async def test_a_payment_that_cannot_be_paid_again_stays_reorged(world: World) -> None:
    """The payer's money is gone when the block comes anew: the operator sees a payment without money, for good."""
    payer, asked, _ = await paid_then_undone(world)
    usdc = world.chain.usdc()
    transfer = usdc.encode_abi("transfer", args=[stranger().address, 1_000_000])
    world.chain.send(payer, to=usdc.address, data=transfer)
    assert await looked(world) == ["reorged"]
    while not (failure := (await world.journal())[0].failure):
        await looked(world)  # sent again and reverted, planned anew and refused
        await asyncio.sleep(0.05)
    assert "exceeds balance" in failure
    assert await looked(world) == await looked(world, valid_before_s=1) == ["reorged"]
    assert [entry.look_at_us for entry in await world.journal()] == [None]
    refusal = await world.payments.task_gate.outcome(asked.task_id)
    assert isinstance(refusal, PaymentRefused) and "undone" in refusal.reason
    assert (await world.payments.task_gate.status(asked.payment_id))["status"] == "reorged"


@pytest.mark.database
async def test_a_failed_payment_that_a_stranger_broadcasts_later_counts_without_the_payer(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Nobody is charged for nothing: the chain is asked until the window has closed."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            with pytest.raises(PaymentRefused):
                await world.submit(asked, payload)
            assert await looked(world) == ["failed"]
            by_stranger(chain, payload)
            assert await looked(world) == ["confirmed"]
            receipt = await world.payments.task_gate.outcome(asked.task_id)
            assert not isinstance(receipt, PaymentRefused) and receipt is not None
            assert world.usdc(payer.address) == 990_000


@pytest.mark.database
async def test_what_is_confirmed_when_nobody_waits_for_it_has_its_receipt_and_can_be_given_back(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """A request that has died meanwhile, and a task that was closed: neither payer has to come again."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, request, task = chain.funded("1"), await world.require(), await world.require()
            for asked in (request, task):
                payload = signed_payload(chain, payer, asked)
                with pytest.raises(PaymentRefused):
                    await world.submit(asked, payload)
                by_stranger(chain, payload)
            async with database.write() as session:
                for change, asked in (("fills_purse = true", request), ("status = 'rejected'", task)):
                    mine = text(f"UPDATE payment_intent SET {change} WHERE id = '{asked.payment_id}'")
                    await session.exec(mine)  # type: ignore[call-overload]
            assert await looked(world) == ["confirmed", "confirmed"]
            await looked(world)
            gate, refunds = world.payments.task_gate, world.payments.refunds
            statuses = [(await gate.status(asked.payment_id))["status"] for asked in (request, task)]
            assert statuses == ["paid", "rejected"], "a task that is just closed may still ask itself"
            await looked(world, updated_at_us=1)
            assert ((await gate.status(task.payment_id))["status"], await books(world)) == ("paid", [])
            rpc.rule = lambda request: None
            assert [(await refunds.give(asked.payment_id)).paid for asked in (request, task)] == [True, True]
            assert (world.usdc(payer.address), await books(world)) == (1_000_000, [])


async def test_a_second_transfer_for_a_paid_task_is_the_payers_to_be_refunded(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Failed, paid anew by another authorisation, and then the first was mined after all: two transfers, one task."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            first = signed_payload(chain, payer, asked)
            with pytest.raises(PaymentRefused):
                await world.submit(asked, first)
            rpc.rule = lambda request: None
            await world.submit(asked, signed_payload(chain, payer, asked))
            by_stranger(chain, first)
            assert await looked(world) == ["confirmed", "confirmed"]
            extra = next(entry for entry in await world.journal() if entry.payment_id == "")
            assert (extra.nonce, "refund" in extra.failure) == (first["payload"]["authorization"]["nonce"], True)
            assert len(await world.payments.task_gate.receipts(asked.task_id)) == 1
            refunds = world.payments.refunds
            given = [*await asyncio.gather(*(refunds.give(extra.id) for _ in range(3))), await refunds.give(extra.id)]
            assert {(each.paid, each.entry.payee, each.row.id) for each in given} == {
                (True, payer.address.lower(), given[0].row.id)
            }
            assert (given[0].row.asked_by, given[0].shown()["receipt_id"]) == ("operator", None)
            assert (world.usdc(payer.address), await books(world)) == (990_000, [])


async def test_an_unused_authorisation_is_abandoned_when_its_window_has_closed(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """From then on nothing can charge the payer, and nothing is asked any more."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            with pytest.raises(PaymentRefused):
                await world.submit(asked, signed_payload(chain, payer, asked))
            assert await looked(world, valid_before_s=1) == ["abandoned"]
            assert [entry.look_at_us for entry in await world.journal()] == [None]
            rpc.rule = lambda request: None
            await world.submit(asked, signed_payload(chain, payer, asked))
            assert world.usdc(payer.address) == 990_000


async def test_one_transfer_pays_for_one_authorisation_even_inside_another_contracts_call(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Two offers are journaled; in one transaction the payer spends one's nonce on itself and executes the other."""
    async with opened(chain, database, tmp_path, queue_runs=False) as world:
        payer, one, other = chain.funded("1"), await world.require(), await world.require()
        spoiled, honest = signed_payload(chain, payer, one), signed_payload(chain, payer, other)
        waiting = [asyncio.create_task(world.submit(a, p)) for a, p in ((one, spoiled), (other, honest))]
        while len(await world.journal()) < 2:
            await asyncio.sleep(0.05)
        to_self = signed_payload(
            chain, payer, one, payee=payer.address, value=1, nonce=spoiled["payload"]["authorization"]["nonce"]
        )
        in_one_transaction(chain, payer, to_self, honest)
        queue = asyncio.create_task(world.payments.queue.run())
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        queue.cancel()
        assert isinstance(ends[0], PaymentRefused), ends[0]
        assert getattr(ends[1], "task_id", ends[1]) == other.task_id
        assert world.usdc(payer.address) == 990_000


@pytest.mark.database
async def test_what_a_restored_database_forgot_is_journaled_before_it_serves(
    chain: ChainProcess, tmp_path: Path, database: Database
) -> None:
    """The chain shows the payment, whose purchase nobody knows any more: it stands in the journal, and is not sold."""
    wallets = OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        payer, asked = chain.funded("1"), await world.require()
        payload = signed_payload(chain, payer, asked)
        receipt = await world.submit(asked, payload)
        async with database.write() as session:  # as if the copy that was put back were from before
            for table in ("settlement", "settlement_attempt", "payment_receipt", "movements"):
                await session.exec(text(f"DELETE FROM {table}"))  # type: ignore[call-overload]
            await session.exec(text("UPDATE payment_intent SET status = 'required'"))  # type: ignore[call-overload]
        await world.payments.reconciler.start()
        found = await world.journal()
        assert [(entry.point, entry.payment_id, entry.tx_hash) for entry in found] == [
            ("confirmed", "", receipt.tx_hash)
        ]
        mark = await world.payments.journal.mark(asked.asset.network)
        assert mark is not None and mark.older_at_us is not None
        with pytest.raises(PaymentRefused) as told:
            await world.submit(asked, payload)
        assert told.value.x402_code == "DUPLICATE_NONCE"
        await world.payments.reconciler.start()
        assert len(await world.journal()) == 1
        given = await world.payments.refunds.give(found[0].id)
        assert (given.paid, world.usdc(payer.address), await books(world)) == (True, 1_000_000, [])
        async with database.write() as session:  # and forgotten once more, with its refund
            for table in ("settlement", "settlement_attempt", "refund", "movements"):
                await session.exec(text(f"DELETE FROM {table}"))  # type: ignore[call-overload]
            await session.exec(text("UPDATE journal_mark SET searched_block = 0"))  # type: ignore[call-overload]
        await world.payments.reconciler.start()
        [anew] = [entry for entry in await world.journal() if entry.payer == payer.address.lower()]
        again = await world.payments.refunds.give(anew.id)
        assert (anew.id != found[0].id, again.entry.tx_hash) == (True, given.entry.tx_hash)
        assert (world.usdc(payer.address), await books(world)) == (1_000_000, [])


def in_one_transaction(chain: ChainProcess, sender: Any, *payloads: dict[str, Any]) -> None:
    usdc, calls = chain.usdc(), []
    for payload in payloads:
        signed = payload["payload"]["authorization"]
        numbers = [int(signed[name]) for name in ("value", "validAfter", "validBefore")]
        call = usdc.get_function_by_signature(BYTES_OVERLOAD)(
            *(signed["from"], signed["to"], *numbers),
            bytes.fromhex(signed["nonce"][2:]),
            bytes.fromhex(payload["payload"]["signature"][2:]),
        )
        calls.append((usdc.address, False, call._encode_transaction_data()))
    multicall = chain.contract("Multicall3", "0xcA11bde05977b3631167028862bE2a173976CA11")
    receipt = chain.send(sender, to=multicall.address, data=multicall.encode_abi("aggregate3", args=[calls]))
    assert receipt["status"] == 1
