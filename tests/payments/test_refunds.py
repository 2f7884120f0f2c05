"""What a receipt has left goes back to its payer on the chain, once, and buys nothing any more."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from own_transfers import claimed, transferred, with_usdt
from paid_http import Buyer, chat, decoded
from payments_world import OpenWallets, World, opened, signed_payload
from rpc_proxy import RpcProxy, refused
from sqlmodel import text

from agentnode.payments import Overview, Receipt, wanted_of
from agentnode.payments.errors import NothingToRefund, PaymentUnknown, ReceiptInUse, RefundTooLate, RefundUnfunded
from agentnode.payments.receipts.refunds import Refunded
from ledger.accounts import receipt_budget
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.spend import Spend, share
from tests.devchain.devchain_process import ChainProcess
from tests.payments.payments_world import books
from tests.scenarios.node_process import NodeProcess, usdc
from trust.errors import SignatureInvalid
from trust.signatures import eip712, jws

OVER = 15_000
"""Atomic units over the price of a task, which its receipt has left."""


async def paid_over(world: World, payer: LocalAccount | None = None) -> tuple[LocalAccount, Receipt]:
    """A task paid with more than its price."""
    payer, asked = payer or world.chain.funded("1"), await world.require()
    payload = claimed(world.chain, payer, asked.accepts_v2("onchain"), asked.amount_atomic + OVER)
    return payer, await world.submit(asked, payload)


def wish(payer: LocalAccount, receipt_id: str, word: str) -> str:
    """The payer's signature for a refund; `word` is the receipt's JWS."""
    return eip712.sign(eip712.refund_typed_data(receipt_id, 31337, jws.claimed_signer(word)), payer)


async def asked(world: World, payer: LocalAccount, receipt: Receipt) -> Refunded:
    return await world.payments.refunds.ask(receipt.payment_id, wish(payer, receipt.id, receipt.jws))


@pytest.mark.database
async def test_what_is_left_goes_back_once_and_the_receipt_is_burned(world: World) -> None:
    """Asked for ten times at once and once more: one transfer, an empty purse, books that agree, a row in the view."""
    payer, receipt = await paid_over(world)
    given = await asyncio.gather(*(asked(world, payer, receipt) for _ in range(10)))
    given.append(await asked(world, payer, receipt))
    assert {(each.row.id, each.entry.tx_hash, each.paid) for each in given} == {
        (given[0].row.id, given[0].entry.tx_hash, True)
    }
    assert world.usdc(payer.address) == 1_000_000 - 10_000
    purse = await Spend(world.database, SystemClock(), "test").budget(receipt_budget(receipt.id).id)
    assert purse is not None and purse.room_usd_nanos == 0
    assert await books(world) == []
    row = (await Overview(world.database, SystemClock()).page(wanted_of({})))["data"][0]
    assert (row["refund_of"], row["amount_usd_exact"], row["status"]) == (receipt.id, "0.015", "confirmed")


async def test_usdt_comes_back_as_usdc(world: World) -> None:
    """Its token knows no authorisations; one USD is one token of either."""
    payer, price = with_usdt(world.chain), await world.require()
    await paid_over(world)  # what the wallet pays with
    payload = claimed(world.chain, payer, price.alternatives[0].accepts_v2("onchain"), price.amount_atomic + OVER)
    receipt = await world.submit(price, payload)
    assert (await asked(world, payer, receipt)).paid
    assert world.usdc(payer.address) == 1_000_000 + OVER
    async with world.database.write() as session:  # a token that the settings do not name any more
        await session.exec(text("UPDATE payment_receipt SET asset = '0x00'"))  # type: ignore[call-overload]
    assert (await world.payments.balances.of(receipt.id)).paid_usd_nanos == 10_000_000 + OVER * 1_000


async def test_who_is_not_the_payer_gets_nothing(world: World) -> None:
    _, receipt = await paid_over(world)
    with pytest.raises(SignatureInvalid):
        await asked(world, world.chain.funded("0"), receipt)
    with pytest.raises(PaymentUnknown):
        await world.payments.refunds.ask("pay_none", "0x" + "00" * 65)
    assert len(await world.journal()) == 1


async def test_the_payer_asks_within_the_window_the_operator_gives_whenever(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The receipt says until when, and its signature says the same."""
    async with opened(chain, database, tmp_path, refund_window_s=0) as world:
        payer, receipt = await paid_over(world)
        assert receipt.refundable_until_us == receipt.settled_at_us
        assert jws.verify(receipt.jws, did=jws.claimed_signer(receipt.jws), typ="x402-receipt+jwt")[
            "refundable_until"
        ] == (receipt.settled_at_us // 1_000_000)
        with pytest.raises(RefundTooLate):
            await asked(world, payer, receipt)
        given = await world.payments.refunds.give(receipt.payment_id)
        assert (given.paid, given.row.asked_by) == (True, "operator")
        assert (await asked(world, payer, receipt)).row.id == given.row.id


async def test_what_was_used_or_is_in_use_is_not_refunded(world: World) -> None:
    payer, price = world.chain.funded("1"), await world.require()
    used = await world.submit(price, signed_payload(world.chain, payer, price))
    with pytest.raises(NothingToRefund):
        await asked(world, payer, used)
    payer, receipt = await paid_over(world)
    spend = Spend(world.database, SystemClock(), "test")
    await spend.start()
    hold = await spend.reserve(
        tenant_id="public", budgets=[share(receipt_budget(receipt.id).id)], amount_usd_nanos=1, lease_s=60
    )
    with pytest.raises(ReceiptInUse):
        await asked(world, payer, receipt)
    await spend.release(hold.id, fence=hold.fence)
    assert (await asked(world, payer, receipt)).paid
    await spend.close()


async def test_a_wallet_without_money_burns_no_receipt(chain: ChainProcess, database: Database, tmp_path: Path) -> None:
    """The operator has taken the money away: refused, and paid once it is there again."""
    wallets = OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        payer, receipt = await paid_over(world)
        taken = world.usdc(receipt.payee)
        chain.http.post("/faucet", json={"address": receipt.payee, "usdc": "0"}).raise_for_status()
        transferred(chain, wallets.account("node"), receipt.asset, chain.funded("0").address, taken)
        with pytest.raises(RefundUnfunded):
            await asked(world, payer, receipt)
        chain.http.post("/faucet", json={"address": receipt.payee, "usdc": "1"}).raise_for_status()
        assert (await asked(world, payer, receipt)).paid


async def test_a_refund_that_failed_is_owed_until_it_is_paid(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    with RpcProxy(chain.url) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, receipt = await paid_over(world)
            rpc.rule = lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None
            given = await asked(world, payer, receipt)
            assert (given.entry.point, given.shown()["status"]) == ("failed", "pending")
            assert await books(world) == []
            rpc.rule = lambda request: None
            await world.payments.refunds.go_on()
            owed = await world.payments.refunds.of_receipt(receipt.id)
            assert owed is not None and await world.payments.journal.ended(owed.entry, 20)
            assert (await asked(world, payer, receipt)).paid
            assert world.usdc(payer.address) == 990_000


async def test_a_restored_older_database_refunds_nothing_twice(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The nonce is the receipt's own, so the chain says that it was given back, and in which transaction."""
    backup, wallets = tmp_path / "backup.db", OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        payer, receipt = await paid_over(world)
        with sqlite3.connect(database.path) as source:
            source.execute("VACUUM INTO ?", [str(backup)])
        first = await asked(world, payer, receipt)
    shutil.copy(backup, tmp_path / "restored.db")
    restored = Database(f"sqlite:///{tmp_path / 'restored.db'}")
    async with opened(chain, restored, tmp_path, wallets=wallets) as world:
        again = await asked(world, payer, receipt)
        assert (again.paid, again.entry.tx_hash) == (True, first.entry.tx_hash)
        assert (world.usdc(payer.address), await books(world)) == (990_000, [])
    await restored.close()


def ask_over_http(buyer: Buyer, settled: dict[str, Any], payment_id: str) -> Any:
    signature = wish(buyer.account, settled["receiptId"], settled["receipt"])
    return buyer.http.post(f"/api/v2/payments/{payment_id}/refund", json={"signature": signature})


def test_over_http_the_rest_comes_back_and_buys_nothing_any_more(buyer: Buyer, chain: ChainProcess) -> None:
    """The 402 and the receipt say until when; asked by ten at once it is given once."""
    body = chat("refund")
    assert buyer.price(body)["extra"]["refundWindowSeconds"] == 604_800
    settled = decoded(buyer.buy(body), "payment-response")
    path = f"/api/v2/receipts/{settled['receiptId']}"
    before, had = buyer.http.get(path).json(), usdc(chain, buyer.account.address)
    assert before["refundable_until"] and before["refund"] is None
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: ask_over_http(buyer, settled, before["payment_id"]), range(10)))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
    given = ask_over_http(buyer, settled, before["payment_id"]).json()
    assert {answer.json()["id"] for answer in answers} == {given["id"]}
    assert (given["status"], usdc(chain, buyer.account.address)) == ("paid", had + int(given["amount"]))
    after = buyer.http.get(path).json()
    assert (after["left_usd_exact"], after["used_usd_exact"]) != (before["left_usd_exact"], "0")
    assert after["refund"] == given
    assert buyer.spend(chat("again"), settled, 1).status_code == 402
    status = buyer.http.get(f"/api/v2/payments/{before['payment_id']}").json()
    assert status["refund"] == given


def test_over_http_nobody_but_payer_and_operator_asks(node: NodeProcess, buyer: Buyer) -> None:
    settled = decoded(buyer.buy(chat("mine")), "payment-response")
    payment_id = buyer.http.get(f"/api/v2/receipts/{settled['receiptId']}").json()["payment_id"]
    path = f"/api/v2/payments/{payment_id}/refund"
    nobody = buyer.http.post(path, json={})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (402, "SIGN_IN_REQUIRED")
    assert buyer.http.post(path, json={"signature": 1}).status_code == 400
    assert buyer.http.post(path, json={"signature": "0x"}).status_code == 403
    assert ask_over_http(buyer, settled, "pay_none").status_code == 404
