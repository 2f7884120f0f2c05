"""The scheme `onchain`: a transfer that its sender made and claims pays, for what it claims, once ever."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from own_transfers import claim_payload, claim_signature, claimed, transferred, usdt, with_usdt
from paid_http import CHAT, Buyer, chat, decoded, encoded
from payments_world import OpenWallets, World, books, opened, signed_payload
from sqlmodel import select

from agentnode.payments import PaymentRefused, Receipt, SettlementPending
from agentnode.payments.errors import (
    AssetMismatch,
    ChainIdMismatch,
    TransferMissing,
    TransferNotBelieved,
    TransferTooOld,
    TransferUnmined,
)
from ledger.accounts import receipt_budget
from ledger.clock import SystemClock, seconds
from ledger.database import Database
from ledger.movements import Movement
from ledger.spend import BudgetRow
from tests.devchain.devchain_process import ChainProcess
from tests.payments.test_journal_ends import looked
from tests.scenarios.node_process import NodeProcess


async def received(world: World) -> dict[str, int]:
    """What came from payers, by where it went."""
    async with world.database.read() as session:
        rows = (await session.exec(select(Movement))).all()
    sums: dict[str, int] = {}
    for row in rows:
        came = row.from_account.startswith("wallet:")
        account = (row.to_account if came else row.from_account).partition(":")[0]
        sums[account] = sums.get(account, 0) + (row.usd_nanos if came else -row.usd_nanos)
    return sums


async def refused(world: World, asked: Any, payload: dict[str, Any]) -> PaymentRefused:
    with pytest.raises(PaymentRefused) as told:
        await world.submit(asked, payload)
    return told.value


@pytest.mark.database
@pytest.mark.parametrize("token", ["usdc", "usdt"])
async def test_a_transfer_that_its_sender_claims_pays_the_task(world: World, token: str) -> None:
    """Of USDC, and of USDT, which knows no authorisations; the same claim again is the same receipt."""
    payer, asked = with_usdt(world.chain), await world.require()
    payload = claimed(world.chain, payer, (asked if token == "usdc" else asked.alternatives[0]).accepts_v2("onchain"))
    receipt = await world.submit(asked, payload)
    entry = (await world.journal())[-1]
    assert (entry.scheme, entry.point, entry.nonce) == ("onchain", "confirmed", payload["payload"]["txHash"])
    assert receipt.asset == payload["accepted"]["asset"].lower()
    assert await world.submit(asked, payload) == receipt
    assert (await received(world), await books(world)) == ({"tenant": 10_000_000}, [])


async def test_somebody_elses_transaction_is_nobodys_payment(world: World) -> None:
    """The hash is public: claimed by another, or unsigned, it is refused; its sender's claim is as good as before."""
    payer, thief, asked = world.chain.funded("1"), world.chain.funded("1"), await world.require()
    accepts = asked.accepts_v2("onchain")
    tx_hash = transferred(world.chain, payer, accepts["asset"], accepts["payTo"], int(accepts["amount"]))
    stolen = await world.require()
    for payload in (
        claim_payload(thief, tx_hash, stolen.accepts_v2("onchain")),
        {**claim_payload(payer, tx_hash, accepts), "accepted": stolen.accepts_v2("onchain")},
        {"x402Version": 2, "accepted": stolen.accepts_v2("onchain"), "payload": {"txHash": tx_hash}},
    ):
        assert (await refused(world, stolen, payload)).x402_code == "INVALID_SIGNATURE"
    assert (await world.submit(asked, claim_payload(payer, tx_hash, accepts))).payer == payer.address.lower()


@pytest.mark.database
async def test_a_transfer_is_claimed_once_ever(chain: ChainProcess, database: Database, tmp_path: Path) -> None:
    """Two tasks at the same time, two processes on one database, and a third after both: one of them is paid."""
    wallets = OpenWallets()
    wallets.create("node"), wallets.create("facilitator")
    payer = chain.funded("1")
    async with (
        opened(chain, database, tmp_path, wallets=wallets) as one,
        opened(chain, database, tmp_path, wallets=wallets) as other,
    ):
        asked = [await one.require(), await other.require(), await one.require()]
        accepts = asked[0].accepts_v2("onchain")
        tx_hash = transferred(chain, payer, accepts["asset"], accepts["payTo"], int(accepts["amount"]))
        payloads = [claim_payload(payer, tx_hash, each.accepts_v2("onchain")) for each in asked]
        ends = await asyncio.gather(
            *(world.submit(asked[n], payloads[n]) for n, world in enumerate((one, other))), return_exceptions=True
        )
        assert [type(end) for end in ends].count(Receipt) == 1, ends
    async with opened(chain, database, tmp_path, wallets=wallets) as restarted:
        assert (await refused(restarted, asked[2], payloads[2])).x402_code == "DUPLICATE_NONCE"
        assert len(await restarted.journal()) == 1


async def test_a_restored_older_database_takes_no_transfer_twice(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Claimed at once after the copy was made: the chain cannot say what it has bought, the data folder says that the
    database is older. What is mined later is good, and stays so over the next start."""
    backup, wallets = tmp_path / "backup.db", OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        payer, asked = chain.funded("1"), await world.require()
        with sqlite3.connect(database.path) as source:
            source.execute("VACUUM INTO ?", [str(backup)])
        payload = claimed(chain, payer, asked.accepts_v2("onchain"))
        await world.submit(asked, payload)
        mined_at_s = (await world.payments.chain.head()).timestamp_s
    while seconds(SystemClock().now_us()) <= mined_at_s:
        await asyncio.sleep(0.05)  # blocks tell no less than seconds
    restored = Database(f"sqlite:///{backup}")
    async with opened(chain, restored, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        with pytest.raises(TransferNotBelieved):
            await world.submit(asked, payload)
        older_at_us = await world.payments.journal.older_at_us(asked.asset.network)
        assert older_at_us is not None and await world.journal() == []
        later = await world.require()
        await world.submit(later, claimed(chain, payer, later.accepts_v2("onchain")))
        await world.payments.reconciler.start()
        assert await world.payments.journal.older_at_us(asked.asset.network) == older_at_us
    await restored.close()


async def test_a_settled_authorisation_is_no_transfer_of_its_payers_own(world: World) -> None:
    """Its transaction has a Transfer of the payer's too, which has bought its task already."""
    payer, asked, other = world.chain.funded("1"), await world.require(), await world.require()
    receipt = await world.submit(asked, signed_payload(world.chain, payer, asked))
    payload = claim_payload(payer, receipt.tx_hash, other.accepts_v2("onchain"))
    assert isinstance(await refused(world, other, payload), TransferMissing)


async def test_a_transfer_that_does_not_pay_is_refused_and_says_why(world: World) -> None:
    """Another token, another chain, too little, to somebody else, reverted, older than the price, not mined."""
    chain, payer = world.chain, with_usdt(world.chain)
    early = transferred(chain, payer, usdt(chain), (await world.require()).pay_to, 10_000)
    while int(time.time()) <= chain.web3.eth.get_block("latest")["timestamp"]:
        await asyncio.sleep(0.05)
    asked = await world.require()
    accepts = asked.accepts_v2("onchain")
    in_usdt = asked.alternatives[0].accepts_v2("onchain")
    assert isinstance(await refused(world, asked, claim_payload(payer, early, in_usdt)), TransferTooOld)
    usdt_for_usdc = transferred(chain, payer, usdt(chain), asked.pay_to, 10_000)
    assert isinstance(await refused(world, asked, claim_payload(payer, usdt_for_usdc, accepts)), AssetMismatch)
    odd = {**accepts, "asset": chain.info()["tokens"]["odd18"]["address"]}
    assert isinstance(await refused(world, asked, claim_payload(payer, usdt_for_usdc, odd)), AssetMismatch)
    elsewhere = {**accepts, "network": "eip155:8453"}
    assert isinstance(await refused(world, asked, claim_payload(payer, usdt_for_usdc, elsewhere)), ChainIdMismatch)
    assert (await refused(world, asked, claimed(chain, payer, accepts, 9_999))).x402_code == "INVALID_AMOUNT"
    to_another = transferred(chain, payer, accepts["asset"], chain.funded("0").address, 10_000)
    assert isinstance(await refused(world, asked, claim_payload(payer, to_another, accepts)), TransferMissing)
    reverted = transferred(chain, payer, accepts["asset"], accepts["payTo"], 10**12)
    assert isinstance(await refused(world, asked, claim_payload(payer, reverted, accepts)), TransferMissing)
    with pytest.raises(TransferUnmined):
        await world.submit(asked, claim_payload(payer, "0x" + "11" * 32, accepts))
    assert await world.journal() == []
    assert await world.submit(asked, claimed(chain, payer, accepts))


async def test_what_was_sent_over_the_price_is_the_payers_receipt(world: World) -> None:
    """The price is the operator's; the rest is in the receipt's purse."""
    payer, asked = world.chain.funded("1"), await world.require()
    receipt = await world.submit(asked, claimed(world.chain, payer, asked.accepts_v2("onchain"), 25_000))
    async with world.database.read() as session:
        purse = await session.get(BudgetRow, receipt_budget(receipt.id).id)
    assert purse is not None
    assert (purse.limit_usd_nanos, purse.spent_usd_nanos) == (15_000_000, 0)
    assert (receipt.amount_atomic, await books(world)) == (25_000, [])
    assert await received(world) == {"tenant": 10_000_000, "receipt": 15_000_000}


async def test_a_transfer_counts_once_it_is_deep_enough(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Until then the payment is pending, and no other is taken; then a round of any process confirms it."""
    async with opened(chain, database, tmp_path, transfer_confirmations=3, settle_timeout_s=0.2) as world:
        payer, asked = chain.funded("1"), await world.require()
        payload = claimed(chain, payer, asked.accepts_v2("onchain"))
        with pytest.raises(SettlementPending):
            await world.submit(asked, payload)
        other = await refused(world, asked, signed_payload(chain, chain.funded("1"), asked))
        assert other.x402_code == "DUPLICATE_NONCE"
        await world.payments.reconciler.tick()
        with pytest.raises(SettlementPending):
            await world.payments.task_gate.outcome(asked.task_id)
        chain.funded("0"), chain.funded("0")
        await world.payments.reconciler.tick()
        assert isinstance(await world.payments.task_gate.outcome(asked.task_id), Receipt)
        assert len(await world.journal()) == 1


async def test_a_transfer_whose_block_was_undone_is_void_until_it_is_mined_again(world: World) -> None:
    chain, payer, asked = world.chain, world.chain.funded("1"), await world.require()
    accepts, snapshot = asked.accepts_v2("onchain"), chain.rpc("evm_snapshot")["result"]
    payload = claimed(chain, payer, accepts, 25_000)
    receipt = await world.submit(asked, payload)
    chain.rpc("evm_revert", snapshot)
    assert await looked(world) == ["reorged"]
    assert await received(world) == {"tenant": 0, "receipt": 0}
    assert [one.void for one in await world.payments.task_gate.receipts(asked.task_id)] == [True]
    # the same nonce, fees and call make the same transaction
    assert transferred(chain, payer, accepts["asset"], accepts["payTo"], 25_000) == receipt.tx_hash
    assert await looked(world) == ["confirmed"]
    assert await received(world) == {"tenant": 10_000_000, "receipt": 15_000_000}


def test_over_http_a_transfer_buys_what_it_was_made_for(buyer: Buyer, chain: ChainProcess) -> None:
    """In both headers; sent again it has bought its delivery, and for another request it is nobody's."""
    for dialect in ("PAYMENT-SIGNATURE", "X-402-Payment"):
        asked = buyer.http.post(CHAT, json=chat(dialect))
        accepts = Buyer.accepts(asked, "onchain")
        payload = claimed(chain, buyer.account, accepts)
        inner, extra = payload["payload"], accepts["extra"]
        header = (
            encoded(payload)
            if dialect == "PAYMENT-SIGNATURE"
            else (
                f"x402-v1;network=31337;token={accepts['asset']};tx={inner['txHash']};quote={extra['quoteId']};"
                f"sig={inner['signature']};amount={accepts['amount']}"
            )
        )
        headers = {dialect: header}
        assert buyer.http.post(CHAT, json=chat("other"), headers=headers).status_code == 402
        answer = buyer.http.post(CHAT, json=chat(dialect), headers=headers)
        assert answer.status_code == 200, answer.text
        assert buyer.http.post(CHAT, json=chat(dialect), headers=headers).status_code == 402


def test_over_http_usdt_pays_and_the_rest_is_a_receipt(buyer: Buyer, chain: ChainProcess) -> None:
    buyer.account = with_usdt(chain)
    asked = buyer.http.post(CHAT, json=chat())
    accepts = next(each for each in asked.json()["accepts"] if each["asset"] == usdt(chain))
    answer = buyer.pay(chat(), claimed(chain, buyer.account, accepts, 500_000))
    assert answer.status_code == 200, answer.text
    settled = decoded(answer, "payment-response")
    shown = buyer.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()
    assert (shown["amount_usd_exact"], shown["asset"]) == ("0.5", usdt(chain).lower())
    assert buyer.spend(chat("again"), settled, 1).status_code == 200


def test_the_p402_dialect_takes_a_transaction_hash(node: NodeProcess, chain: ChainProcess) -> None:
    """`x402/payment-submitted {scheme: onchain, tx_hash, signature}` pays, and the task is worked for."""
    payer = chain.funded("1")
    sent = {"message": {"role": "user", "parts": [{"type": "text", "text": "hi"}]}}
    asked = node.rpc("message/send", sent)["error"]["data"]
    scheme = next(each for each in asked["schemes"] if each["scheme"] == "onchain")
    tx_hash = transferred(chain, payer, scheme["verifyingContract"], scheme["recipient"], int(scheme["amount"]))
    signature = claim_signature(payer, tx_hash, asked["payment_id"], scheme["domain"]["authority"])
    pays = {"payment_id": asked["payment_id"], "scheme": "onchain", "tx_hash": tx_hash, "signature": signature}
    answer = node.rpc("x402/payment-submitted", pays)
    assert answer["result"]["settlement"]["tx_hash"] == tx_hash
    assert answer["result"]["receipt"]["receipt_id"]
