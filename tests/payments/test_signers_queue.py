"""One queue per sending key: a failed broadcast stops none of the others, and silence is asked about, not guessed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from failing_rpc import FailingRpc, Fault
from payments_world import OpenWallets, opened, signed_payload

from agentnode.payments import PaymentRefused
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess


@pytest.mark.parametrize("kind", ["refuse", "lose_request", "lose_answer"])
async def test_a_failed_broadcast_in_the_midst_of_others_stops_none(
    chain: ChainProcess, database: Database, tmp_path: Path, kind: Fault
) -> None:
    """Twelve payments at once; the fourth broadcast fails. All twelve settle, each once, and so does a thirteenth."""
    with FailingRpc(chain.url, lambda n: kind if n == 4 else "pass") as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payers = [chain.funded("1") for _ in range(12)]
            asked = [await world.require() for _ in payers]
            payloads = [signed_payload(chain, payer, one) for payer, one in zip(payers, asked, strict=True)]
            await asyncio.gather(*(world.submit(a, p) for a, p in zip(asked, payloads, strict=True)))
            late, last = chain.funded("1"), await world.require()
            await world.submit(last, signed_payload(chain, late, last))
            assert {world.usdc(payer.address) for payer in [*payers, late]} == {990_000}
            entries = await world.journal()
            assert {entry.point for entry in entries} == {"settled"}
            assert len({entry.account_nonce for entry in entries}) == 13
    assert rpc.broadcasts >= 13


async def test_a_broadcast_that_is_always_refused_fails_its_payment_and_no_other(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The payer keeps its money, the same authorisation is good for a later try, and the queue goes on."""
    refusing = True
    with FailingRpc(chain.url, lambda n: "refuse" if refusing else "pass") as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            with pytest.raises(PaymentRefused) as refused:
                await world.submit(asked, payload)
            assert refused.value.x402_code == "SETTLEMENT_FAILED"
            assert world.usdc(payer.address) == 1_000_000
            refusing = False
            await world.submit(asked, payload)
            assert world.usdc(payer.address) == 990_000


async def test_a_restored_older_database_sells_no_payment_again(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """What the file forgot, the chain knows: a used authorisation buys nothing, and account nonces go on."""
    backup, wallets = tmp_path / "backup.db", OpenWallets()
    async with opened(chain, database, tmp_path, wallets=wallets) as world:
        with sqlite3.connect(database.path) as source:
            source.execute("VACUUM INTO ?", [str(backup)])
        payer, asked = chain.funded("1"), await world.require()
        payload = signed_payload(chain, payer, asked)
        await world.submit(asked, payload)
    shutil.copy(backup, tmp_path / "restored.db")
    restored = Database(f"sqlite:///{tmp_path / 'restored.db'}")
    async with opened(chain, restored, tmp_path, wallets=wallets) as world:
        again = await world.require()
        with pytest.raises(PaymentRefused) as refused:
            await world.submit(again, {**payload, "accepted": again.accepts_v2()})
        assert refused.value.x402_code == "DUPLICATE_NONCE"
        await world.submit(again, signed_payload(chain, payer, again))
        assert world.usdc(payer.address) == 980_000
    await restored.close()
