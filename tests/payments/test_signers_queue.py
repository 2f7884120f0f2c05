"""One queue per sending key: a failed broadcast stops none of the others, and silence is asked about, not guessed."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from payments_world import OpenWallets, World, opened, signed_payload
from rpc_proxy import LOSE_ANSWER, LOSE_REQUEST, Fate, RpcProxy, refused

from agentnode.payments import PaymentRefused
from agentnode.payments.schemes.exact import transfer_call
from agentnode.payments.schemes.payload import read_authorization
from agentnode.payments.settling.journal import Journal, Plan
from agentnode.payments.settling.queue import SignerQueue
from agentnode.payments.settling.sending import Sending
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.work import Claims
from tests.devchain.devchain_process import ChainProcess


@pytest.mark.parametrize("fate", [refused("no"), LOSE_REQUEST, LOSE_ANSWER], ids=["refused", "lost", "unheard"])
async def test_a_failed_broadcast_in_the_midst_of_others_stops_none(
    chain: ChainProcess, database: Database, tmp_path: Path, fate: Fate
) -> None:
    """Twelve payments at once; the fourth broadcast fails. All twelve settle, each once, and so does a thirteenth."""
    broadcasts = itertools.count(1)

    def rule(request: dict[str, Any]) -> Fate:
        return fate if request["method"] == "eth_sendRawTransaction" and next(broadcasts) == 4 else None

    with RpcProxy(chain.url, rule) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payers = [chain.funded("1") for _ in range(12)]
            asked = [await world.require() for _ in payers]
            payloads = [signed_payload(chain, payer, one) for payer, one in zip(payers, asked, strict=True)]
            await asyncio.gather(*(world.submit(a, p) for a, p in zip(asked, payloads, strict=True)))
            late, last = chain.funded("1"), await world.require()
            await world.submit(last, signed_payload(chain, late, last))
            assert {world.usdc(payer.address) for payer in [*payers, late]} == {990_000}
            entries = await world.journal()
            assert {entry.point for entry in entries} == {"confirmed"}
            assert len({entry.account_nonce for entry in entries}) == 13
    assert next(broadcasts) > 13


async def test_a_broadcast_that_is_always_refused_fails_its_payment_and_no_other(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The payer keeps its money, the same authorisation is good for a later try, and the queue goes on."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            with pytest.raises(PaymentRefused) as told:
                await world.submit(asked, payload)
            assert told.value.x402_code == "SETTLEMENT_FAILED"
            assert world.usdc(payer.address) == 1_000_000
            rpc.rule = lambda request: None
            await world.submit(asked, payload)
            assert world.usdc(payer.address) == 990_000


async def test_a_restored_older_database_sells_no_payment_again(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """What the file forgot, the chain knows: a used authorisation buys nothing, and account nonces go on."""
    backup, wallets = tmp_path / "backup.db", OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        with sqlite3.connect(database.path) as source:
            source.execute("VACUUM INTO ?", [str(backup)])
        payer, asked = chain.funded("1"), await world.require()
        payload = signed_payload(chain, payer, asked)
        await world.submit(asked, payload)
    shutil.copy(backup, tmp_path / "restored.db")
    restored = Database(f"sqlite:///{tmp_path / 'restored.db'}")
    async with opened(chain, restored, tmp_path, wallets=wallets) as world:
        await world.payments.reconciler.start()
        again = await world.require()
        with pytest.raises(PaymentRefused) as told:
            await world.submit(again, {**payload, "accepted": again.accepts_v2()})
        assert told.value.x402_code == "DUPLICATE_NONCE"
        await world.submit(again, signed_payload(chain, payer, again))
        assert world.usdc(payer.address) == 980_000
    await restored.close()


async def test_what_is_for_another_chain_is_not_signed_for_this_one(world: World) -> None:
    """It stands in the same journal, without another carrier, and came first."""
    payer, asked, journal = world.chain.funded("1"), await world.require(), world.payments.journal
    payload = signed_payload(world.chain, payer, asked)
    foreign = replace(read_authorization(payload, asked), network="eip155:137")
    await journal.plan(Plan("pay_foreign", foreign, "0x" + transfer_call(foreign).hex(), 0))
    await world.submit(asked, signed_payload(world.chain, payer, asked))
    [foreign_entry] = [entry for entry in await world.journal() if entry.network == "eip155:137"]
    assert (foreign_entry.point, foreign_entry.account_nonce) == ("planned", None)
    assert world.usdc(payer.address) == 990_000


async def test_who_does_not_lead_waits_until_there_is_something_new(database: Database) -> None:
    """Woken by an entry of its own while another process sends, it asks for the lease once, not as fast as it can."""

    class LedElsewhere(Claims):
        asked = 0

        async def claim(self, *_: object) -> None:  # type: ignore[override]
            self.asked += 1

    clock = SystemClock()
    claims = LedElsewhere(database, clock, "other")
    journal = Journal(database, clock, claims, lambda name: None)
    journal.wake.set()
    sending = cast(Sending, SimpleNamespace(name="eip155:31337:0x00"))
    running = asyncio.create_task(SignerQueue(journal, sending, claims, clock).run())
    for _ in range(100):
        await asyncio.sleep(0)
    assert claims.asked == 1
    journal.wake.set()
    for _ in range(100):
        await asyncio.sleep(0)
    assert claims.asked == 2
    running.cancel()
