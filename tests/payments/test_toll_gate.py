"""One payment buys one delivery, for exactly the price; what does not pay costs nothing and leaves the task payable."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from payments_world import World, opened, signed_payload, stranger
from sqlmodel import select

from agentnode.payments import PaymentRefused, QuoteExpired
from ledger.database import Database
from ledger.events import EconomicEvent
from ledger.movements import Movement
from trust.signatures import jws


@pytest.mark.database
@pytest.mark.parametrize("version", [1, 2])
async def test_a_payment_moves_exactly_the_price_and_gives_a_signed_receipt(world: World, version: int) -> None:
    """The payer's balance falls and the payee's rises by the price, and the receipt names the transaction."""
    payer, asked = world.chain.funded("1"), await world.require()
    before = world.usdc(payer.address), world.usdc(asked.pay_to)
    receipt = await world.submit(asked, signed_payload(world.chain, payer, asked, version))
    assert (world.usdc(payer.address), world.usdc(asked.pay_to)) == (before[0] - 10_000, before[1] + 10_000)
    assert world.chain.rpc("eth_getTransactionReceipt", receipt.tx_hash)["result"]["status"] == "0x1"
    claims = jws.verify(receipt.jws, did=jws.claimed_signer(receipt.jws))
    assert (claims["transaction"], claims["amount"], claims["task_id"]) == (receipt.tx_hash, "10000", asked.task_id)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": 9_999}, "INVALID_AMOUNT"),
        ({"value": 10_001}, "INVALID_AMOUNT"),
        ({"payee": "0x000000000000000000000000000000000000dEaD"}, "INVALID_SIGNATURE"),
        ({"token": {"address": "0x000000000000000000000000000000000000dEaD"}}, "INVALID_SIGNATURE"),
        ({"token": {"name": "USDC"}}, "INVALID_SIGNATURE"),
        ({"valid_after": int(time.time()) + 1_000, "valid_before": int(time.time()) + 2_000}, "EXPIRED_PAYMENT"),
        ({"valid_before": int(time.time()) - 1}, "EXPIRED_PAYMENT"),
    ],
)
async def test_a_payload_with_other_terms_costs_nothing_and_the_task_stays_payable(
    world: World, change: dict[str, Any], code: str
) -> None:
    """Refused by the extension's code; balances and journal untouched; then a right payload pays the same task."""
    payer, asked = world.chain.funded("1"), await world.require()
    before = world.usdc(payer.address)
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(asked, signed_payload(world.chain, payer, asked, **change))
    assert refused.value.x402_code == code
    assert (world.usdc(payer.address), await world.journal()) == (before, [])
    await world.submit(asked, signed_payload(world.chain, payer, asked))
    assert world.usdc(payer.address) == before - 10_000


async def test_a_window_about_to_end_is_refused(world: World) -> None:
    """Five seconds are too few to be mined in time."""
    payer, asked = world.chain.funded("1"), await world.require()
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(asked, signed_payload(world.chain, payer, asked, valid_before=int(time.time()) + 5))
    assert refused.value.x402_code == "EXPIRED_PAYMENT"
    assert await world.journal() == []


@pytest.mark.parametrize(("network", "code"), [("eip155:8453", "NETWORK_MISMATCH"), ("base", "NETWORK_MISMATCH")])
async def test_a_payload_for_another_network_is_refused(world: World, network: str, code: str) -> None:
    """Version 2 names a chain, version 1 a name; neither pays here unless it is ours."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked, 1 if network == "base" else 2)
    holder = payload if network == "base" else payload["accepted"]
    holder["network"] = network
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(asked, payload)
    assert refused.value.x402_code == code
    assert await world.journal() == []


async def test_an_altered_signature_and_an_empty_purse_are_refused(world: World) -> None:
    """A flipped bit is INVALID_SIGNATURE, too little money INSUFFICIENT_FUNDS; neither reaches the journal."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    signature = payload["payload"]["signature"]
    payload["payload"]["signature"] = signature[:20] + ("0" if signature[20] != "0" else "1") + signature[21:]
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(asked, payload)
    assert refused.value.x402_code == "INVALID_SIGNATURE"
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(asked, signed_payload(world.chain, stranger(), asked))
    assert refused.value.x402_code == "INSUFFICIENT_FUNDS"
    assert await world.journal() == []


@pytest.mark.database
async def test_one_authorisation_buys_one_task(world: World) -> None:
    """Sent for a second task it is refused as a duplicate; sent again for the first, the same receipt is the answer."""
    payer, first, second = world.chain.funded("1"), await world.require(), await world.require()
    payload = signed_payload(world.chain, payer, first)
    receipt = await world.submit(first, payload)
    with pytest.raises(PaymentRefused) as refused:
        await world.submit(second, {**payload, "accepted": second.accepts_v2()})
    assert refused.value.x402_code == "DUPLICATE_NONCE"
    assert await world.submit(first, payload) == receipt
    assert world.usdc(payer.address) == 990_000


async def test_a_second_payer_is_refused_before_settlement(world: World) -> None:
    """Two payers for one task: the first to be journaled pays, the other keeps its money."""
    asked = await world.require()
    payers = [world.chain.funded("1"), world.chain.funded("1")]
    tries = [world.submit(asked, signed_payload(world.chain, payer, asked)) for payer in payers]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert sorted(world.usdc(payer.address) for payer in payers) == [990_000, 1_000_000]


async def test_a_transfer_that_a_stranger_broadcast_first_is_found_and_counts(world: World) -> None:
    """Anybody may broadcast an authorisation that is on its way: the journal adopts the transfer it finds."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    raced = world.chain.funded("0")

    def race(point: str) -> None:
        if point == "planned":
            broadcast(world, raced, payload)

    world.payments.journal._on_point = race
    receipt = await world.submit(asked, payload)
    assert world.usdc(payer.address) == 990_000
    assert (
        world.chain.rpc("eth_getTransactionByHash", receipt.tx_hash)["result"]["from"].lower() == raced.address.lower()
    )


async def test_an_expired_quote_is_refused_before_anything_is_signed(
    world: World, database: Database, tmp_path: Any
) -> None:
    """A price holds for as long as it says, not longer."""
    later = world.payments.intents

    class Late:
        def now_us(self) -> int:
            return (int(time.time()) + 601) * 1_000_000

    payer, asked = world.chain.funded("1"), await world.require()
    later._clock = Late()
    with pytest.raises(QuoteExpired):
        await world.submit(asked, signed_payload(world.chain, payer, asked))
    assert world.usdc(payer.address) == 1_000_000
    assert await world.journal() == []


def broadcast(world: World, sender: Any, payload: dict[str, Any]) -> None:
    inner, usdc = payload["payload"], world.chain.usdc()
    signed = inner["authorization"]
    call = usdc.get_function_by_signature(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    )(
        signed["from"],
        signed["to"],
        int(signed["value"]),
        int(signed["validAfter"]),
        int(signed["validBefore"]),
        bytes.fromhex(signed["nonce"][2:]),
        bytes.fromhex(inner["signature"][2:]),
    )
    world.chain.send(sender, to=usdc.address, data=call._encode_transaction_data())


async def test_32_payments_at_once_through_one_key_all_settle(world: World) -> None:
    """One queue per sending key: no account nonce is lost or used twice."""
    payers = [world.chain.funded("1") for _ in range(32)]
    asked = [await world.require() for _ in payers]
    payloads = [signed_payload(world.chain, payer, one) for payer, one in zip(payers, asked, strict=True)]
    receipts = await asyncio.gather(*(world.submit(a, p) for a, p in zip(asked, payloads, strict=True)))
    assert len({receipt.tx_hash for receipt in receipts}) == 32
    assert {world.usdc(payer.address) for payer in payers} == {990_000}


async def test_the_gate_opens_again_on_what_it_left(world: World, database: Database, tmp_path: Any) -> None:
    """Another process over the same database knows what was paid."""
    payer, asked = world.chain.funded("1"), await world.require()
    payload = signed_payload(world.chain, payer, asked)
    receipt = await world.submit(asked, payload)
    async with opened(world.chain, database, tmp_path) as again:
        assert await again.submit(asked, payload) == receipt
        assert await again.payments.task_gate.outcome(asked.task_id) == receipt


@pytest.mark.database
async def test_what_was_earned_is_booked_once(world: World) -> None:
    """Work without an upstream call has an event of its own, one however often it is asked for; the money has moved."""
    payer, asked = world.chain.funded("1"), await world.require()
    assert await world.payments.task_gate.unbooked_usd_nanos(asked.task_id) == 0
    receipt = await world.submit(asked, signed_payload(world.chain, payer, asked))
    assert await world.payments.task_gate.unbooked_usd_nanos(asked.task_id) == 10_000_000
    for _ in range(2):
        await world.payments.task_gate.book(asked.task_id)
    assert await world.payments.task_gate.unbooked_usd_nanos(asked.task_id) == 0
    async with world.database.read() as session:
        events = (await session.exec(select(EconomicEvent))).all()
        moved = (await session.exec(select(Movement))).all()
    assert [(event.kind, event.revenue_usd_nanos, event.receipt_id) for event in events] == [
        ("paid_task", 10_000_000, receipt.id)
    ]
    assert [(row.kind, row.from_account, row.to_account, row.usd_nanos) for row in moved] == [
        ("settlement", f"wallet:{receipt.payer}", "tenant:node", 10_000_000)
    ]
