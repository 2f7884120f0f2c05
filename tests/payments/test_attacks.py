"""What an attacker, a lagging node or an unlucky moment could do to a payment, and does not."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from payments_world import World, opened, signed_payload
from rpc_proxy import Fate, RpcProxy, refused
from strangers import by_stranger

from agentnode.payments import PaymentRefused, QuoteExpired
from agentnode.payments.schemes.payload import read_authorization
from agentnode.payments.settling.journal import Mined, Plan
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.work import ClaimLost, Claims
from tests.devchain.devchain_process import ChainProcess
from trust.errors import ChainUnavailable


@pytest.fixture
async def still(chain: ChainProcess, database: Database, tmp_path: Path) -> Any:
    """A world whose queue stands still: the journal moves by hand."""
    claims = Claims(database, SystemClock(), "by hand")
    async with opened(chain, database, tmp_path, queue_runs=False) as world:
        claim = await claims.claim("signer", world.payments.queue._sending.name, 600)
        assert claim is not None
        yield world, claim


async def test_one_transfer_never_gives_two_receipts(still: Any) -> None:
    """An authorisation that failed for one task and is planned anew for another settles the other only."""
    world, claim = still
    payer, one, other = world.chain.funded("1"), await world.require(), await world.require()
    journal, gate = world.payments.journal, world.payments.task_gate
    offered = read_authorization(signed_payload(world.chain, payer, one), one)
    entry = await journal.plan(Plan(one.payment_id, offered, "0x", 0))
    waiting = asyncio.create_task(gate.outcome(one.task_id))
    await asyncio.sleep(0)
    await journal.failed(entry, claim, "reverted")
    again = await journal.plan(Plan(other.payment_id, offered, "0x", 0))
    await journal.confirmed([(again, Mined("0x" + "11" * 32, 1, "0x" + "22" * 32))], claim)
    assert isinstance(await waiting, PaymentRefused)
    await gate.outcome(other.task_id)
    assert await gate.receipts(one.task_id) == []
    assert len(await gate.receipts(other.task_id)) == 1


async def test_an_end_is_final(still: Any) -> None:
    """A process that slept since it led cannot write `failed` over what its successor settled."""
    world, claim = still
    payer, asked = world.chain.funded("1"), await world.require()
    offered = read_authorization(signed_payload(world.chain, payer, asked), asked)
    entry = await world.payments.journal.plan(Plan(asked.payment_id, offered, "0x", 0))
    await world.payments.journal.confirmed([(entry, Mined("0x" + "33" * 32, 1, "0x" + "22" * 32))], claim)
    with pytest.raises(ClaimLost):
        await world.payments.journal.failed(entry, claim, "the window closed")
    assert not isinstance(await world.payments.task_gate.outcome(asked.task_id), PaymentRefused)


async def test_a_price_that_was_closed_while_the_payment_was_checked_is_not_charged(world: World) -> None:
    """Declined, cancelled or expired in between: the plan is refused in its own transaction."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    offered = read_authorization(payload, asked)
    await world.payments.task_gate.reject(asked.task_id)
    with pytest.raises(QuoteExpired):
        await world.payments.facilitator.settle(asked.payment_id, offered, asked)
    assert await world.journal() == []
    assert world.usdc(payer.address) == 1_000_000


async def test_a_lagging_node_does_not_turn_a_settled_payment_into_a_refusal(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Once the journal has settled, no further look decides."""
    lags = False

    def on_point(name: str) -> None:
        nonlocal lags
        lags = lags or name == "confirmed"

    def rule(request: dict[str, Any]) -> Fate:
        return {"result": None} if lags and request["method"] == "eth_getTransactionReceipt" else None

    with RpcProxy(chain.url, rule) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url, on_point=on_point) as world:
            payer, asked = chain.funded("1"), await world.require()
            await world.submit(asked, signed_payload(chain, payer, asked))
            assert world.usdc(payer.address) == 990_000


async def test_a_payment_that_was_given_up_and_mined_later_still_buys_its_task(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """What was sent once is public: the same payload, sent again, finds its transfer."""
    with RpcProxy(chain.url, lambda r: refused("no") if r["method"] == "eth_sendRawTransaction" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            with pytest.raises(PaymentRefused):
                await world.submit(asked, payload)
            by_stranger(chain, payload)
            assert world.usdc(payer.address) == 990_000
            assert (await world.submit(asked, payload)).task_id == asked.task_id
            assert world.usdc(payer.address) == 990_000


async def test_a_dropped_transaction_does_not_block_the_key(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The node took it and forgot it, and the payer's money went elsewhere: the next buyers are served."""
    first = True

    def drop(request: dict[str, Any]) -> Fate:
        nonlocal first
        if request["method"] != "eth_sendRawTransaction" or not first:
            return None
        first = False
        return {"result": "0x" + "00" * 32}

    with RpcProxy(chain.url, drop) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            evil, asked = chain.funded("1"), await world.require()
            attack = asyncio.create_task(world.submit(asked, signed_payload(chain, evil, asked)))
            while first:
                await asyncio.sleep(0.01)
            usdc = chain.usdc()
            with contextlib.suppress(ValueError):
                chain.send(evil, to=usdc.address, data=usdc.encode_abi("transfer", args=[asked.pay_to, 995_000]))
            honest, second = chain.funded("1"), await world.require()
            await world.submit(second, signed_payload(chain, honest, second))
            assert world.usdc(honest.address) == 990_000
            await asyncio.gather(attack, return_exceptions=True)


async def test_an_entry_whose_logs_cannot_be_read_stops_no_other(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Public nodes refuse long ranges of logs: the entry waits, and is neither failed nor in the way."""
    too_long = refused("query exceeds max block range 10000", -32005)
    with RpcProxy(chain.url, lambda r: too_long if r["method"] == "eth_getLogs" else None) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url, settle_timeout_s=2) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            raced = False

            def race(point: str) -> None:
                nonlocal raced
                if point == "planned" and not raced:
                    raced = True
                    by_stranger(chain, payload)

            world.payments.journal._on_point = race
            await asyncio.gather(world.submit(asked, payload), return_exceptions=True)
            honest, second = chain.funded("1"), await world.require()
            await world.paid(second, signed_payload(chain, honest, second))
            rpc.rule = lambda request: None
            assert (await world.paid(asked, payload)).task_id == asked.task_id
            assert world.usdc(payer.address) == 990_000


async def test_a_transfer_that_a_stranger_put_in_an_earlier_block_is_found(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """The search begins before the check, not after it."""
    with RpcProxy(chain.url) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload, raced = signed_payload(chain, payer, asked), False

            def rule(request: dict[str, Any]) -> Fate:
                nonlocal raced
                if request["method"] == "eth_estimateGas" and not raced:  # checked and planned, not yet sent
                    raced = True
                    by_stranger(chain, payload)
                    chain.funded("0")
                return None

            rpc.rule = rule
            assert (await world.submit(asked, payload)).task_id == asked.task_id
            assert world.usdc(payer.address) == 990_000


async def test_an_authorisation_without_end_pays(world: World) -> None:
    """Wallets sign validBefore = 2**256 - 1, and a longer window than asked is accepted."""
    payer, asked = world.chain.funded("1"), await world.require()
    await world.submit(asked, signed_payload(world.chain, payer, asked, valid_before=2**256 - 1))
    assert world.usdc(payer.address) == 990_000


@pytest.mark.parametrize("method", ["eth_getCode", "eth_estimateGas", "eth_blockNumber"])
async def test_a_busy_rpc_is_not_a_bad_signature(
    chain: ChainProcess, database: Database, tmp_path: Path, method: str
) -> None:
    """Cannot check is 503, and the payment is as good as before."""
    with RpcProxy(chain.url) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url) as world:
            payer, asked = chain.funded("1"), await world.require()
            payload = signed_payload(chain, payer, asked)
            rpc.rule = lambda request: 429 if request["method"] == method else None
            with pytest.raises(ChainUnavailable):
                await world.submit(asked, payload)
            rpc.rule = lambda request: None
            await world.submit(asked, payload)


async def test_a_wallet_contract_cannot_burn_our_gas(world: World) -> None:
    """Who pays a cent does not make the seller pay for millions of gas of the wallet's own code."""
    chain, asked = world.chain, await world.require()
    owner = chain.funded("1")
    # mstore at 3,000,000 costs about 19 million gas; then it answers EIP-1271's magic word.
    runtime = bytes.fromhex("5f622dc6c052631626ba7e60e01b5f5260205ff3")
    creation = bytes.fromhex(f"60{len(runtime):02x}8060095f395ff3") + runtime
    wallet = chain.send(owner, data="0x" + creation.hex(), gas=500_000)["contractAddress"]
    chain.http.post("/faucet", json={"address": wallet, "usdc": "1"}).raise_for_status()
    payload = signed_payload(chain, owner, asked)
    payload["payload"]["authorization"]["from"] = wallet
    payload["payload"]["signature"] += "00"
    with pytest.raises(PaymentRefused):
        await world.submit(asked, payload)
    assert world.usdc(wallet) == 1_000_000


def body_of(payload: dict[str, Any], accepts: dict[str, Any]) -> dict[str, Any]:
    return {"x402Version": 2, "paymentPayload": {**payload, "accepted": accepts}, "paymentRequirements": accepts}


async def test_the_facilitator_says_the_same_again(world: World) -> None:
    """A retry whose first answer was lost gets that answer."""
    payer, asked = world.chain.funded("1"), await world.require()
    accepts = {**asked.accepts_v2(), "payTo": world.chain.funded("0").address}
    body = body_of(signed_payload(world.chain, payer, asked, payee=accepts["payTo"]), accepts)
    first = await world.payments.facilitator.settle_request(body)
    assert first["success"], first
    assert await world.payments.facilitator.settle_request(body) == first


@pytest.mark.database
async def test_one_nonce_signed_for_two_sellers_settles_for_one(still: Any) -> None:
    """Both were checked before either was journaled: the second is no other name for the first."""
    world, _ = still
    payer, asked, nonce = world.chain.funded("1"), await world.require(), "0x" + "ab" * 32
    for payee in (world.chain.funded("0").address, world.chain.funded("0").address):
        accepts = {**asked.accepts_v2(), "payTo": payee}
        signed = {**signed_payload(world.chain, payer, asked, payee=payee, nonce=nonce), "accepted": accepts}
        offered = read_authorization(signed, replace(asked, pay_to=payee))
        plan = Plan(f"x402:{offered.payer}:{offered.nonce}", offered, "0x", 0)
        if not await world.journal():
            await world.payments.journal.plan(plan)
            assert (await world.payments.journal.plan(plan)).payee == payee.lower()
        else:
            with pytest.raises(PaymentRefused, match="DUPLICATE_NONCE"):
                await world.payments.journal.plan(plan)


@pytest.mark.parametrize(
    "change", [{"payTo": "0x" + "33" * 20}, {"amount": "990000"}, {}], ids=["payee", "amount", "forged"]
)
async def test_a_settled_nonce_is_no_settlement_of_another_sellers(world: World, change: dict[str, str]) -> None:
    """Who settled a unit for one seller names its nonce to another, for more, or with a signature of nobody's."""
    payer, asked, forged = world.chain.funded("1"), await world.require(), "0x" + "11" * 64 + "1b"
    accepts = {**asked.accepts_v2(), "payTo": world.chain.funded("0").address, "amount": "1"}
    payload = signed_payload(world.chain, payer, asked, payee=accepts["payTo"], value=1)
    settled = await world.payments.facilitator.settle_request(body_of(payload, accepts))
    assert settled["success"], settled
    other = {**accepts, **change}
    signed = {**payload["payload"]["authorization"], "to": other["payTo"], "value": other["amount"]}
    cheat = {**payload, "payload": {"signature": forged, "authorization": signed}}
    told = await world.payments.facilitator.settle_request(body_of(cheat, other))
    assert (told["success"], told["transaction"]) == (False, ""), told
    assert await world.payments.facilitator.settle_request(body_of(payload, accepts)) == settled


async def test_the_facilitator_does_not_take_what_a_task_asks_for(world: World) -> None:
    """Settled there by a stranger, the task's own payment would be gone and the task unpaid."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    with pytest.raises(InvalidInput, match="payTo"):
        await world.payments.facilitator.settle_request(body_of(payload, asked.accepts_v2()))
    await world.submit(asked, payload)


@pytest.mark.parametrize("amount", ["9" * 5_000, "0", "-1", "1.5", 10_000, "１"])
async def test_a_silly_amount_is_named(world: World, amount: Any) -> None:
    """Bad input is a 4xx with its field."""
    asked = {**(await world.require()).accepts_v2(), "amount": amount, "payTo": world.chain.funded("0").address}
    with pytest.raises(InvalidInput, match="amount"):
        await world.payments.facilitator.settle_request(body_of({}, asked))


async def test_payments_are_checked_while_many_wait_for_the_chain(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Settlements that wait hold no thread: an honest one is checked meanwhile."""
    no_fees = refused("down")
    with RpcProxy(chain.url) as rpc:
        async with opened(chain, database, tmp_path, rpc_url=rpc.url, settle_timeout_s=30) as world:
            evil, payee, asked = chain.funded("1"), chain.funded("0").address, await world.require()
            rpc.rule = lambda r: no_fees if r["method"] == "eth_maxPriorityFeePerGas" else None
            accepts = {**asked.accepts_v2(), "payTo": payee, "amount": "1"}
            bodies = [body_of(signed_payload(chain, evil, asked, payee=payee, value=1), accepts) for _ in range(24)]
            flood = [asyncio.create_task(world.payments.facilitator.settle_request(body)) for body in bodies]
            while len(await world.journal()) < len(bodies):
                await asyncio.sleep(0.05)
            body = body_of(signed_payload(chain, chain.funded("1"), asked), asked.accepts_v2())
            assert (await world.payments.facilitator.verify_request(body))["isValid"]
            for task in flood:
                task.cancel()
            await asyncio.gather(*flood, return_exceptions=True)
