"""The open facilitator verifies small amounts of a payer that it has just seen without the chain, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentnode.payments.asking.requirement import PaymentRequirement
from ledger.database import Database
from tests.devchain.devchain_process import ChainProcess
from tests.payments.a_stall import Later
from tests.payments.payments_world import World, opened, signed_payload
from tests.payments.rpc_proxy import RpcProxy, refused
from trust.errors import ChainUnavailable


class Seller:
    """Another seller, who has payments to itself verified while the chain may be away."""

    def __init__(self, world: World, rpc: RpcProxy, asked: PaymentRequirement) -> None:
        self.world, self.rpc, self.chain, self._asked = world, rpc, world.chain, asked
        self._payee = self.chain.funded("0").address

    async def verified(self, payer: Any, atomic: int = 1_000, **changed: Any) -> dict[str, Any]:
        payload = signed_payload(self.chain, payer, self._asked, payee=self._payee, value=atomic)
        accepts = {**self._asked.accepts_v2(), "payTo": self._payee, "amount": str(atomic)}
        payload = {**payload, "accepted": accepts, "payload": {**payload["payload"], **changed}}
        body = {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": accepts}
        return await self.world.payments.facilitator.verify_request(body)

    def without_chain(self) -> None:
        self.rpc.rule = lambda request: refused("down")


@pytest.fixture
async def seller(chain: ChainProcess, database: Database, tmp_path: Path) -> AsyncIterator[Seller]:
    with RpcProxy(chain.url) as rpc:
        recent = {"verify_recent_s": 60, "verify_recent_usd": "0.01"}
        async with opened(chain, database, tmp_path, rpc_url=rpc.url, **recent) as world:
            yield Seller(world, rpc, await world.require())
            rpc.rule = lambda request: None


async def test_a_payer_just_seen_is_verified_without_the_chain_and_the_age_is_stated(seller: Seller) -> None:
    payer = seller.chain.funded("1")
    first = await seller.verified(payer)
    assert (first["isValid"], first["stateAgeMs"]) == (True, 0)
    seller.without_chain()
    again = await seller.verified(payer)
    assert (again["isValid"], again["payer"]) == (True, payer.address)
    assert again["stateAgeMs"] >= 0
    with pytest.raises(ChainUnavailable):
        await seller.verified(seller.chain.funded("1"))


async def test_no_more_than_the_bound_is_verified_on_what_was_seen(seller: Seller) -> None:
    """Of one payer, all together; then the chain is asked again."""
    payer = seller.chain.funded("1")
    assert (await seller.verified(payer, 1_000))["isValid"]
    seller.without_chain()
    assert (await seller.verified(payer, 8_000))["isValid"]
    with pytest.raises(ChainUnavailable):
        await seller.verified(payer, 2_000)


async def test_no_more_than_the_balance_is_verified_on_what_was_seen(seller: Seller) -> None:
    payer = seller.chain.funded("0.003")
    assert (await seller.verified(payer, 1_000))["isValid"]
    seller.without_chain()
    assert (await seller.verified(payer, 2_000))["isValid"]
    with pytest.raises(ChainUnavailable):
        await seller.verified(payer, 1_000)


async def test_a_clock_that_goes_back_makes_nothing_younger(seller: Seller) -> None:
    """What was seen in an hour that has not come yet is not relied on until it has."""
    clock, payer = Later(), seller.chain.funded("1")
    seller.world.payments.facilitator._recent._clock = clock
    clock.pass_s(3_600)
    assert (await seller.verified(payer))["isValid"]
    clock.pass_s(-3_600)
    seller.without_chain()
    with pytest.raises(ChainUnavailable):
        await seller.verified(payer)


async def test_what_another_signed_is_not_verified_on_what_was_seen(seller: Seller) -> None:
    payer, thief = seller.chain.funded("1"), seller.chain.funded("1")
    assert (await seller.verified(payer))["isValid"]
    theirs = signed_payload(seller.chain, thief, seller._asked, payee=seller._payee, value=1_000)["payload"]
    answer = await seller.verified(payer, signature=theirs["signature"])
    assert (answer["isValid"], answer["invalidReason"]) == (False, "INVALID_SIGNATURE")


async def test_an_authorisation_that_is_being_settled_is_not_verified_on_what_was_seen(seller: Seller) -> None:
    payer = seller.chain.funded("1")
    assert (await seller.verified(payer))["isValid"]
    payload = signed_payload(seller.chain, payer, seller._asked, payee=seller._payee, value=1_000)
    accepts = {**seller._asked.accepts_v2(), "payTo": seller._payee, "amount": "1000"}
    body = {"x402Version": 2, "paymentPayload": {**payload, "accepted": accepts}, "paymentRequirements": accepts}
    assert (await seller.world.payments.facilitator.settle_request(body))["success"]
    answer = await seller.world.payments.facilitator.verify_request(body)
    assert (answer["isValid"], answer["invalidReason"]) == (False, "DUPLICATE_NONCE")
