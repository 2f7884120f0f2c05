"""What strangers ask of the open facilitator: to pay their gas, and to say settled for what was not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from payments_world import OpenWallets, World, opened, signed_payload
from rpc_proxy import Fate, RpcProxy

from agentnode.payments.errors import GasBudgetSpent
from agentnode.payments.facilitators.gas import GasBudget
from agentnode.payments.schemes.exact import transfer_call
from agentnode.payments.schemes.payload import read_authorization
from agentnode.payments.settling.journal import Plan
from agentnode.payments.settling.proof import Proof
from agentnode.payments.settling.sending import Sending
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.work import Claims
from tests.devchain.devchain_process import ChainProcess
from tests.payments.a_stall import Later

CLOSED_PORT = "http://127.0.0.1:1"


async def body_of(world: World, payer: Any, payee: str) -> dict[str, Any]:
    """A payment to another seller, as it is sent to be settled."""
    asked = await world.require()
    accepts = {**asked.accepts_v2(), "payTo": payee}
    payload = {**signed_payload(world.chain, payer, asked, payee=payee), "accepted": accepts}
    return {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": accepts}


async def test_what_was_settled_on_another_network_is_not_settled_here(world: World) -> None:
    """The same nonce, payee and amount in worthless tokens of a test network: the money has still to move."""
    payer, payee = world.chain.funded("1"), world.chain.funded("0").address
    body = await body_of(world, payer, payee)
    offered = read_authorization(body["paymentPayload"], replace(await world.require(), pay_to=payee, quote_id=""))
    elsewhere = replace(offered, network="eip155:84532", asset="0x" + "22" * 20)
    entry = world.payments.journal._entry(Plan(f"x402:{offered.payer}:{offered.nonce}", elsewhere, "0x", 1))
    entry.point, entry.tx_hash, entry.block_number = "confirmed", "0x" + "33" * 32, 1
    async with world.database.write() as session:
        session.add(entry)
    told = await world.payments.facilitator.settle_request(body)
    assert told["success"] and told["network"] == world.payments.asset.network, told
    assert world.usdc(payee) == int(told["amount"])
    assert await world.payments.facilitator.settle_request(body) == told


async def pays_for(world: World, settlements: float) -> None:
    """What the day's gas for others is enough for, on a chain where it is free."""
    sender, broadcaster = world.payments.queue._sending.address, world.payments.broadcaster
    limit_wei = int(settlements * 400_000 * (await broadcaster.terms(sender))[1].max_fee_per_gas)
    gas = GasBudget(world.payments.journal, broadcaster, SystemClock(), sender, limit_wei)
    world.payments.facilitator._gas = gas


@pytest.mark.database
async def test_many_at_once_get_no_more_gas_than_one_after_the_other(world: World) -> None:
    """Each is checked before any is journaled, and the balance that covers one of them covers each."""
    await pays_for(world, 1.1)
    payer, payee = world.chain.funded("1"), world.chain.funded("0").address
    bodies = [await body_of(world, payer, payee) for _ in range(6)]
    settle = world.payments.facilitator.settle_request
    told = await asyncio.gather(*(settle(body) for body in bodies), return_exceptions=True)
    assert [isinstance(one, GasBudgetSpent) for one in told].count(True) == 5, told
    assert len(await world.journal()) == 1


async def test_gas_is_counted_where_others_come_first_too(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Who sees to it that they refuse has our own queue carry it."""
    facilitators = [{"url": CLOSED_PORT}, {"url": "own"}]
    async with opened(chain, database, tmp_path, facilitators=facilitators, facilitator_timeout_s=1) as world:
        await pays_for(world, 0)
        body = await body_of(world, chain.funded("1"), chain.funded("0").address)
        with pytest.raises(GasBudgetSpent):
            await world.payments.facilitator.settle_request(body)
        assert await world.journal() == []


async def test_a_chain_that_stands_still_does_not_take_the_gas_wallet(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """What is not mined is bid up to a bound, and no further however long it stands: it is paid when it goes on."""

    def swallowed(request: dict[str, Any]) -> Fate:
        return {"result": "0x" + "00" * 32} if request["method"] == "eth_sendRawTransaction" else None

    clock, wallets = Later(), OpenWallets()
    with RpcProxy(chain.url, swallowed) as rpc:
        async with opened(chain, database, tmp_path, rpc.url, wallets=wallets, queue_runs=False) as world:
            payments, asked = world.payments, await world.require()
            journal, proof = payments.journal, Proof(payments.chain, clock, wall_clock=True)
            offered = read_authorization(signed_payload(chain, chain.funded("1"), asked), asked)
            head = (await payments.chain.head()).number
            plan = Plan(asked.payment_id, offered, "0x" + transfer_call(offered).hex(), head)
            entry = await journal.plan(plan)
            account = wallets.account("facilitator")
            sending = Sending(journal, payments.broadcaster, payments.chain, proof, account, clock)
            claim = await Claims(database, SystemClock(), "by hand").claim("signer", sending.address, 600)
            assert claim is not None
            await sending.send([entry], claim)
            for _ in range(14):
                clock.pass_s(21)
                attempts = await journal.attempts(entry)
                await sending.follow(entry, attempts, 0, claim)
            bids = [int(each.max_fee_per_gas) for each in await journal.attempts(entry)]
            assert max(bids) <= 13 * min(bids), [bid / min(bids) for bid in bids]
