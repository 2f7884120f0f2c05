"""What somebody else broadcast before the buyer came: it buys its task while a quote lives, and nothing else."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from payments_world import OpenWallets, World, opened, signed_payload
from strangers import by_stranger

from agentnode.payments import PaymentRefused
from agentnode.payments.tables import JournalMark
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess


class Later:
    """A clock that is ahead."""

    def __init__(self, by_s: int) -> None:
        self._by_s = by_s

    def now_us(self) -> int:
        return (int(time.time()) + self._by_s) * 1_000_000


@pytest.mark.database
async def test_it_buys_its_task_and_the_ledger_equals_the_chain(world: World) -> None:
    """Confirmed at once under the stranger's transaction, with one receipt; for another task it is a duplicate."""
    payer, asked, other = world.chain.funded("1"), await world.require(), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    transaction = by_stranger(world.chain, payload)
    receipt = await world.submit(asked, payload)
    assert (receipt.tx_hash, receipt.amount_atomic, receipt.payer) == (transaction, 10_000, payer.address.lower())
    assert await world.submit(asked, payload) == receipt
    with pytest.raises(PaymentRefused) as told:
        await world.submit(other, {**payload, "accepted": other.accepts_v2()})
    assert told.value.x402_code == "DUPLICATE_NONCE"
    assert [entry.point for entry in await world.journal()] == ["confirmed"]
    assert world.usdc(payer.address) == 990_000


async def test_a_transfer_that_is_older_than_a_quote_buys_nothing(world: World) -> None:
    """It was for something that was asked before."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    by_stranger(world.chain, payload)
    world.payments.facilitator._overtaken._clock = Later(601)
    with pytest.raises(PaymentRefused) as told:
        await world.submit(asked, payload)
    assert (told.value.x402_code, await world.journal()) == ("DUPLICATE_NONCE", [])


@pytest.mark.parametrize("change", [{"payee": "0x" + "22" * 20}, {"value": 9_999}])
async def test_another_transfer_under_its_nonce_buys_nothing(world: World, change: dict[str, Any]) -> None:
    """The payer signed twice under one nonce, and the other one was broadcast."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    nonce = payload["payload"]["authorization"]["nonce"]
    by_stranger(world.chain, signed_payload(world.chain, payer, asked, nonce=nonce, **change))
    with pytest.raises(PaymentRefused) as told:
        await world.submit(asked, payload)
    assert (told.value.x402_code, await world.journal()) == ("DUPLICATE_NONCE", [])


@pytest.mark.parametrize("kind", ["a key", "a contract wallet"])
async def test_who_only_read_the_nonce_on_chain_has_bought_nothing(world: World, kind: str) -> None:
    """Checked though the nonce is used: of a contract wallet the library hears of the nonce before the signature."""
    payer, asked = payer_of(world, kind), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    by_stranger(world.chain, payload)
    forged = {**payload, "payload": {**payload["payload"], "signature": "0x" + "11" * 64 + "1b"}}
    with pytest.raises(PaymentRefused):
        await world.submit(asked, forged)
    assert await world.journal() == []
    await world.submit(asked, payload)


def payer_of(world: World, kind: str) -> Any:
    """A key, or a contract wallet whose owner signs for it."""
    if kind == "a key":
        return world.chain.funded("1")
    wallet, keys = world.chain.info()["wallet"], world.chain.info()["accounts"]
    key = next(each["private_key"] for each in keys if each["address"] == wallet["owner"])
    return SimpleNamespace(address=wallet["address"], sign_typed_data=Account.from_key(key).sign_typed_data)


async def test_the_open_facilitator_does_not_say_settled_for_it(world: World) -> None:
    """Another seller may take "settled" for "not used before"."""
    payer, seller, asked = world.chain.funded("1"), world.chain.funded("0").address, await world.require()
    accepts = {**asked.accepts_v2(), "payTo": seller}
    payload = {**signed_payload(world.chain, payer, asked, payee=seller), "accepted": accepts}
    by_stranger(world.chain, payload)
    body = {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": accepts}
    told = await world.payments.facilitator.settle_request(body)
    assert (told["success"], told["errorReason"]) == (False, "DUPLICATE_NONCE")


async def test_the_search_leaves_it_to_its_buyer_for_as_long_as_a_quote_lives(
    chain: ChainProcess, database: Database, tmp_path: Any
) -> None:
    """Found each minute it would stand there without a purchase, and its buyer would be refused; later it does."""
    async with opened(chain, database, tmp_path, wallets=OpenWallets()) as world:
        reconciler, payer, asked = world.payments.reconciler, chain.funded("1"), await world.require()
        await reconciler.start()
        late, payload = chain.funded("1"), signed_payload(chain, payer, asked)
        by_stranger(chain, payload)
        by_stranger(chain, signed_payload(chain, late, asked))
        reconciler._searched_at_us = 0
        await reconciler.tick()
        assert await world.journal() == []
        await world.submit(asked, payload)
        reconciler._searched_at_us, reconciler._clock = 0, Later(601)
        await reconciler.tick()
        async with database.read() as session:
            mark = await session.get(JournalMark, asked.asset.network)
        assert mark is not None and mark.searched_block == (await world.payments.chain.head()).number
        points = {entry.payer: (entry.point, entry.payment_id) for entry in await world.journal()}
        assert points == {
            payer.address.lower(): ("confirmed", asked.payment_id),
            late.address.lower(): ("confirmed", ""),
        }
