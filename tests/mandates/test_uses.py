"""Uses of a mandate: what is refused leaves no trace, what is allowed is held once and never sums past the limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.errors import AgentNodeError, HoldEnded, NotFound
from ledger.events import EventDraft, Events
from ledger.money import NANOS_PER_USD
from mandates import Mandates, UseRequest
from mandates.errors import (
    AgentNotAllowed,
    BudgetExceeded,
    MandateExpired,
    MandateInactive,
    MandateNotFound,
    UseReplayed,
    UseSent,
)
from tests.mandates.world import DAY_S, GRANTOR, PAYEE, STRANGER, World, did, restarted, use
from trust.errors import SignatureInvalid
from trust.signatures import eip712, jws

USD = NANOS_PER_USD


@pytest.mark.database
async def test_a_use_is_held_then_captured_for_less_and_the_rest_comes_back(world: World) -> None:
    """before, action, after: (0, 0), authorise 4: (0, 4), capture 3: (3, 0)."""
    mandate = await world.grant()

    authorized = await world.mandates.authorize("acme", mandate["id"], use("4.00", category="search"))
    assert await world.money(mandate["id"]) == (0, 4 * USD)
    assert authorized.use["status"] == "held" and authorized.use["remaining_usd_exact"] == "6"

    captured = await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 3 * USD)

    assert await world.money(mandate["id"]) == (3 * USD, 0)
    assert captured["use"]["status"] == "captured" and captured["use"]["remaining_usd"] == 7.0
    assert captured["mandate"]["amount_spent_usd_exact"] == "3"


@pytest.mark.database
async def test_authorise_and_capture_in_one_answers_use_and_mandate(world: World) -> None:
    """The shape of docs/mandates.md, with an exact string beside each number."""
    mandate = await world.grant()
    answer = await world.mandates.use("acme", mandate["id"], use("0.01"))
    assert answer["use"]["mandate_id"] == mandate["id"] and answer["use"]["status"] == "captured"
    assert (answer["use"]["amount_usd"], answer["use"]["amount_usd_exact"]) == (0.01, "0.01")
    assert (answer["use"]["remaining_usd"], answer["use"]["remaining_usd_exact"]) == (9.99, "9.99")
    assert (answer["mandate"]["amount_spent_usd"], answer["mandate"]["status"]) == (0.01, "active")


async def test_released_money_is_there_again(world: World) -> None:
    """A released use leaves the whole sum to be used."""
    mandate = await world.grant()
    authorized = await world.mandates.authorize("acme", mandate["id"], use(10))
    released = await world.mandates.release("acme", mandate["id"], authorized.use["id"])
    assert released["use"]["status"] == "released" and released["use"]["remaining_usd"] == 10
    assert await world.mandates.release("acme", mandate["id"], authorized.use["id"]) == released
    await world.mandates.use("acme", mandate["id"], use(10))
    assert await world.money(mandate["id"]) == (10 * USD, 0)


@pytest.mark.parametrize(
    ("constraints", "asked", "code"),
    [
        ({}, {"amount_usd": "10.000000001"}, "BUDGET_EXCEEDED"),
        ({"max_per_use_usd": 2}, {"amount_usd": "2.000001"}, "BUDGET_EXCEEDED"),
        ({"allowed_categories": ["search"]}, {"category": "compute"}, "CATEGORY_NOT_ALLOWED"),
        ({"allowed_categories": ["search"]}, {}, "CATEGORY_NOT_ALLOWED"),
        ({"allowed_payees": [PAYEE]}, {"payee": "0x" + "bb" * 20}, "PAYEE_NOT_ALLOWED"),
        ({"allowed_payees": [PAYEE]}, {}, "PAYEE_NOT_ALLOWED"),
        ({}, {"agent_did": did(STRANGER)}, "AGENT_NOT_ALLOWED"),
        ({"valid_from": 1_764_003_600}, {}, "MANDATE_NOT_YET_VALID"),
    ],
)
async def test_a_broken_rule_refuses_with_its_own_code_and_leaves_no_trace(
    world: World, constraints: dict[str, Any], asked: dict[str, Any], code: str
) -> None:
    """Spent and held stay as they are, no use is listed, and the same id can be used rightly afterwards."""
    mandate = await world.grant(**constraints)
    request = UseRequest.parse({"amount_usd": 1, "use_id": "u1"} | asked)

    with pytest.raises(AgentNodeError) as refused:
        await world.mandates.authorize("acme", mandate["id"], request)

    assert (refused.value.code, refused.value.status) == (code, 403)
    assert await world.money(mandate["id"]) == (0, 0)
    assert (await world.mandates.uses("acme", mandate["id"]))["data"] == []
    world.clock.pass_s(7200)
    right = use(1, use_id="u1", category="search", payee=PAYEE)
    assert (await world.mandates.authorize("acme", mandate["id"], right)).use["status"] == "held"


async def test_after_its_time_a_mandate_authorises_nothing(world: World) -> None:
    """The last second before valid_until is good, valid_until itself is not."""
    mandate = await world.grant()
    world.clock.pass_s(DAY_S - 1)
    await world.mandates.use("acme", mandate["id"], use())
    world.clock.pass_s(1)
    with pytest.raises(MandateExpired):
        await world.mandates.use("acme", mandate["id"], use())
    assert (await world.mandates.get("acme", mandate["id"]))["mandate"]["status"] == "expired"


async def test_a_mandate_of_another_chain_authorises_nothing(world: World) -> None:
    """The node was put on another chain with the same books: what was granted over test money is not good here."""
    mandate = await world.grant()
    moved = Mandates(world.database, world.spend, world.clock, world.keys, 8453)
    with pytest.raises(MandateInactive, match="31337"):
        await moved.authorize("acme", mandate["id"], use())
    assert await world.money(mandate["id"]) == (0, 0)


@pytest.mark.database
async def test_parallel_uses_never_sum_past_the_limit(world: World) -> None:
    """Fifty at once at 60% each: exactly one is allowed; afterwards 40% is left, and can be used."""
    mandate = await world.grant()
    tries = [world.mandates.use("acme", mandate["id"], use(6)) for _ in range(50)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 49
    assert await world.money(mandate["id"]) == (6 * USD, 0)
    await world.mandates.use("acme", mandate["id"], use(4))
    with pytest.raises(MandateInactive):
        await world.mandates.use("acme", mandate["id"], use("0.000000001"))


@pytest.mark.database
async def test_parallel_uses_never_pass_the_number_of_uses(world: World) -> None:
    """Of twenty at once three are allowed; one given back makes room for one more, and three captured exhaust it."""
    mandate = await world.grant(max_uses=3)
    tries = [world.mandates.authorize("acme", mandate["id"], use("0.01")) for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    held = [result for result in results if not isinstance(result, BaseException)]
    assert len(held) == 3
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 17

    await world.mandates.release("acme", mandate["id"], held[0].use["id"])
    held[0] = await world.mandates.authorize("acme", mandate["id"], use("0.01"))
    for authorized in held:
        await world.mandates.capture("acme", mandate["id"], authorized.use["id"], USD // 100)

    assert (await world.mandates.get("acme", mandate["id"]))["mandate"]["status"] == "exhausted"
    with pytest.raises(MandateInactive):
        await world.mandates.authorize("acme", mandate["id"], use("0.01"))


async def test_a_payment_is_for_one_use_and_its_rest_lapses(world: World) -> None:
    """After one use for 7 of 10 nothing is left; while one is held a second is refused."""
    mandate = await world.grant("payment")
    authorized = await world.mandates.authorize("acme", mandate["id"], use(7))
    with pytest.raises(BudgetExceeded):
        await world.mandates.authorize("acme", mandate["id"], use(1))
    captured = await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 7 * USD)
    assert captured["use"]["remaining_usd"] == 0 and captured["mandate"]["status"] == "exhausted"
    with pytest.raises(MandateInactive):
        await world.mandates.authorize("acme", mandate["id"], use(1))


@pytest.mark.database
async def test_each_item_of_a_cart_is_bought_once(world: World) -> None:
    """Ten at once for one item: one; never above the item's amount; the cart is exhausted with its last item."""
    items = [{"id": "tea", "amount_usd": "3.5"}, {"id": "cup", "amount_usd": 4}]
    mandate = await world.grant("cart", items=items)
    with pytest.raises(AgentNodeError, match="item_id"):
        await world.mandates.use("acme", mandate["id"], use(1))
    with pytest.raises(AgentNodeError, match="item_id"):
        await world.mandates.use("acme", mandate["id"], use(1, item_id="hat"))
    with pytest.raises(BudgetExceeded):
        await world.mandates.use("acme", mandate["id"], use("3.500000001", item_id="tea"))

    tries = [world.mandates.use("acme", mandate["id"], use("1.5", item_id="tea")) for _ in range(10)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 9

    held = await world.mandates.authorize("acme", mandate["id"], use(4, item_id="cup"))
    await world.mandates.release("acme", mandate["id"], held.use["id"])
    last = await world.mandates.use("acme", mandate["id"], use(4, item_id="cup"))
    assert last["mandate"]["status"] == "exhausted"
    assert await world.money(mandate["id"]) == (5 * USD + USD // 2, 0)


@pytest.mark.parametrize(("limit", "each", "times"), [("19.99", "19.99", 1), ("0.000003", "0.000001", 3)])
async def test_amounts_are_exact(world: World, limit: str, each: str, times: int) -> None:
    """19.99 is 19,990,000,000 nanos and can be spent in one; six decimals add up; nothing is left over."""
    mandate = await world.grant(max_amount_usd=float(limit))
    assert mandate["constraints"]["max_amount_usd_exact"] == limit
    for _ in range(times):
        answer = await world.mandates.use("acme", mandate["id"], use(float(each)))
    assert answer["mandate"]["status"] == "exhausted" and answer["mandate"]["remaining_usd_exact"] == "0"


@pytest.mark.database
async def test_the_same_use_again_is_answered_as_before(world: World) -> None:
    """Twenty at once and one later: one hold, one capture, equal answers, equal claims in the token."""
    mandate = await world.grant()
    request = use(2, use_id="use_1", payee=PAYEE, audience="https://seller.example")
    tries = [world.mandates.authorize("acme", mandate["id"], request) for _ in range(20)]
    answers = await asyncio.gather(*tries)
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    assert all(answer.use == answers[0].use for answer in answers)
    claims = [jws.verify(answer.token, did=world.keys.did, typ="mandate-use+jwt") for answer in answers]
    assert all(claim == claims[0] for claim in claims)

    first = await world.mandates.capture("acme", mandate["id"], "use_1", 2 * USD)
    assert await world.mandates.capture("acme", mandate["id"], "use_1", 2 * USD) == first
    assert (await world.mandates.authorize("acme", mandate["id"], request)).use["status"] == "captured"
    assert await world.mandates.use("acme", mandate["id"], request) == first
    assert await world.money(mandate["id"]) == (2 * USD, 0)
    with pytest.raises(HoldEnded):
        await world.mandates.capture("acme", mandate["id"], "use_1", USD)


async def test_a_use_id_is_never_another_use(world: World) -> None:
    """Another body, another mandate, another tenant or a use that has ended: USE_REPLAYED, and nothing is held."""
    mandate, second = await world.grant(), await world.grant()
    await world.mandates.authorize("acme", mandate["id"], use(2, use_id="use_1"))
    for changed in (use(3, use_id="use_1"), use(2, use_id="use_1", category="x"), use(2, use_id="use_1", task_id="t")):
        with pytest.raises(UseReplayed):
            await world.mandates.authorize("acme", mandate["id"], changed)
    with pytest.raises(UseReplayed):
        await world.mandates.authorize("acme", second["id"], use(2, use_id="use_1"))
    with pytest.raises(UseReplayed):
        await world.mandates.authorize(
            "other", mandate["id"], await world.signed_use(mandate["id"], amount_usd=2, use_id="use_1")
        )
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    assert await world.money(second["id"]) == (0, 0)
    await world.mandates.release("acme", mandate["id"], "use_1")
    with pytest.raises(UseReplayed):
        await world.mandates.authorize("acme", mandate["id"], use(2, use_id="use_1"))


async def test_the_token_says_what_was_authorised_and_by_whom(world: World) -> None:
    """A JWS by the authority's key: mandate, use, amount, payee, audience, nonce, expiry."""
    mandate = await world.grant(allowed_payees=[PAYEE])
    request = use("0.25", payee=PAYEE, audience="https://seller.example")
    authorized = await world.mandates.authorize("acme", mandate["id"], request)
    claims = jws.verify(authorized.token, did=mandate["authority"])
    assert len(claims.pop("nonce")) == 32
    assert claims == {
        "mandate": mandate["id"],
        "mandate_digest": mandate["digest"],
        "use": authorized.use["id"],
        "amount_usd_nanos": "250000000",
        "payee": PAYEE.lower(),
        "aud": "https://seller.example",
        "exp": 1_764_000_120,
    }
    assert authorized.use["expires_at"] == "2025-11-24T16:02:00.000Z"
    assert authorized.hold.lease_until_us == 1_764_000_120_000_000


@pytest.mark.database
async def test_another_tenant_uses_a_mandate_only_with_its_agents_signature(world: World) -> None:
    """Signed by the agent: held. Unsigned, by another key, over another amount, or too old: SIGNATURE_INVALID."""
    mandate = await world.grant()
    signed = await world.signed_use(mandate["id"], amount_usd=2)
    with pytest.raises(SignatureInvalid):
        await world.mandates.authorize("other", mandate["id"], use(2))
    stolen = await world.signed_use(mandate["id"], account=STRANGER, amount_usd=2)
    with pytest.raises(SignatureInvalid):
        await world.mandates.authorize("other", mandate["id"], stolen)
    raised = use(3, use_id=signed.use_id, agent_signature=signed.agent_signature, expires_at=signed.expires_at_s)
    with pytest.raises(SignatureInvalid):
        await world.mandates.authorize("other", mandate["id"], raised)
    with pytest.raises(SignatureInvalid):
        await world.mandates.authorize("acme", mandate["id"], raised)
    named = await world.signed_use(mandate["id"], account=STRANGER, amount_usd=2, agent_did=did(STRANGER))
    with pytest.raises(AgentNotAllowed):
        await world.mandates.authorize("other", mandate["id"], named)
    assert await world.money(mandate["id"]) == (0, 0)

    authorized = await world.mandates.authorize("other", mandate["id"], signed)

    assert await world.money(mandate["id"]) == (0, 2 * USD)
    with pytest.raises(NotFound):
        await world.mandates.capture("acme", mandate["id"], authorized.use["id"], USD)
    await world.mandates.capture("other", mandate["id"], authorized.use["id"], 2 * USD)
    late = await world.signed_use(mandate["id"], amount_usd=1)
    world.clock.pass_s(600)
    with pytest.raises(SignatureInvalid):
        await world.mandates.authorize("other", mandate["id"], late)


async def test_a_lease_that_ran_out_leaves_nothing_stuck(world: World) -> None:
    """An abandoned use of a payment frees the mandate once the sweeper has ended its hold; it cannot be captured."""
    mandate = await world.grant("payment")
    authorized = await world.mandates.authorize("acme", mandate["id"], use(7))
    world.clock.pass_s(120)
    assert await world.spend.expire(authorized.hold.id)

    assert (await world.mandates.uses("acme", mandate["id"]))["data"][0]["status"] == "released"
    with pytest.raises(HoldEnded):
        await world.mandates.capture("acme", mandate["id"], authorized.use["id"], USD)
    with pytest.raises(UseReplayed):
        await world.mandates.authorize("acme", mandate["id"], use(7, use_id=authorized.use["id"]))
    assert (await world.mandates.use("acme", mandate["id"], use(10)))["mandate"]["status"] == "exhausted"


async def test_a_use_refused_by_the_ledger_alone_leaves_no_trace(world: World) -> None:
    """Another process takes the room between check and hold: BUDGET_EXCEEDED with the room seen, no use kept."""
    mandate = await world.grant(max_uses=2)

    async def taken() -> None:
        await world.spend.reserve(tenant_id="acme", budgets=[mandate["id"]], amount_usd_nanos=9 * USD, hold_id="other")

    world.spend.meanwhile = taken
    with pytest.raises(BudgetExceeded) as refused:
        await world.mandates.authorize("acme", mandate["id"], use(2, use_id="use_1"))

    assert (refused.value.asked_usd_nanos, refused.value.room_usd_nanos) == (2 * USD, USD)
    assert (await world.mandates.uses("acme", mandate["id"]))["data"] == []
    await world.spend.release("other")
    for use_id in ("use_1", "use_2"):
        await world.mandates.authorize("acme", mandate["id"], use(2, use_id=use_id))


async def test_a_crash_between_row_and_hold_leaves_nothing_stuck(world: World) -> None:
    """A row whose hold was never reserved counts until its lease has ended, and then no more."""
    mandate = await world.grant("payment")
    await world.spend.close()
    with pytest.raises(AgentNodeError, match="LEDGER_STOPPED"):
        await world.mandates.authorize("acme", mandate["id"], use(7, use_id="use_1"))

    again_up = await restarted(world)
    assert (await again_up.mandates.get("acme", mandate["id"]))["mandate"]["remaining_usd"] == 10
    with pytest.raises(BudgetExceeded):
        await again_up.mandates.authorize("acme", mandate["id"], use(7))
    world.clock.pass_s(120)
    again = await again_up.mandates.authorize("acme", mandate["id"], use(7, use_id="use_1"))
    assert again.hold.lease_until_us == world.clock.now_us() + 120_000_000
    assert again.use["expires_at"] == "2025-11-24T16:04:00.000Z"
    await again_up.spend.close()


async def test_a_crash_between_capture_and_row_is_made_good(world: World) -> None:
    """A hold that was captured while its row was not yet written shows as captured, at its amount, once looked at."""
    mandate = await world.grant("payment")
    authorized = await world.mandates.authorize("acme", mandate["id"], use(7))
    await world.spend.capture(authorized.hold.id, 5 * USD)
    again = await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 5 * USD)
    assert again["use"]["captured_usd"] == 5 and again["mandate"]["status"] == "exhausted"

    other = await world.grant("payment")
    authorized = await world.mandates.authorize("acme", other["id"], use(7))
    await world.spend.capture(authorized.hold.id, 6 * USD)
    world.clock.pass_s(120)
    assert (await world.mandates.get("acme", other["id"]))["mandate"]["status"] == "exhausted"
    assert (await world.mandates.uses("acme", other["id"]))["data"][0]["captured_usd_exact"] == "6"


@pytest.mark.database
async def test_the_event_of_a_capture_names_mandate_and_use(world: World) -> None:
    """One event, booked in the capture's transaction; a capture that is refused books none."""
    mandate = await world.grant()
    authorized = await world.mandates.authorize("acme", mandate["id"], use(2))
    event = EventDraft(kind="hire", tenant_id="acme")
    with pytest.raises(BudgetExceeded):
        await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 3 * USD, event)
    await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 2 * USD, event)
    booked = await Events(world.database).get(event.id, "acme")
    assert (booked.mandate_id, booked.mandate_use_id) == (mandate["id"], authorized.use["id"])
    assert booked.cost_usd_nanos == 2 * USD


async def test_what_was_sent_ends_only_by_the_chain(world: World) -> None:
    """After mark_sent no release, no capture by hand and no lease's end ends it.

    The whole is captured, with the event of who asked the chain, or it lapses.
    """
    mandate = await world.grant()
    event = EventDraft(kind="hire", tenant_id="acme")
    sent = await world.mandates.authorize("acme", mandate["id"], use(2))
    await world.mandates.mark_sent("acme", sent.use["id"])
    with pytest.raises(UseSent):
        await world.mandates.release("acme", mandate["id"], sent.use["id"])
    with pytest.raises(UseSent):
        await world.mandates.capture("acme", mandate["id"], sent.use["id"], USD, event)
    with pytest.raises(UseSent):
        await world.mandates.capture("acme", mandate["id"], sent.use["id"], 2 * USD)
    world.clock.pass_s(3600)
    await world.spend.expire(sent.hold.id)
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    await world.mandates.capture("acme", mandate["id"], sent.use["id"], 2 * USD, event)
    assert await world.money(mandate["id"]) == (2 * USD, 0)

    unused = await world.mandates.authorize("acme", mandate["id"], use(3))
    await world.mandates.mark_sent("acme", unused.use["id"])
    lapsed = await world.mandates.lapse("acme", mandate["id"], unused.use["id"])
    assert lapsed["use"]["status"] == "released"
    assert await world.money(mandate["id"]) == (2 * USD, 0)


async def test_nothing_is_sent_under_a_use_that_has_ended(world: World) -> None:
    """mark_sent refuses a captured, a released, a lapsed and an unknown use."""
    mandate = await world.grant()
    released, captured, lapsed = [await world.mandates.authorize("acme", mandate["id"], use(1)) for _ in range(3)]
    await world.mandates.release("acme", mandate["id"], released.use["id"])
    await world.mandates.capture("acme", mandate["id"], captured.use["id"], USD)
    world.clock.pass_s(120)
    await world.spend.expire(lapsed.hold.id)
    for authorized in (released, captured, lapsed):
        with pytest.raises(HoldEnded):
            await world.mandates.mark_sent("acme", authorized.use["id"])
    with pytest.raises(NotFound):
        await world.mandates.mark_sent("other", captured.use["id"])


async def test_unknown_mandates_and_uses_are_named_so(world: World) -> None:
    """MANDATE_NOT_FOUND for a mandate, NOT_FOUND for a use of one that exists."""
    mandate = await world.grant()
    with pytest.raises(MandateNotFound):
        await world.mandates.authorize("acme", "mnd_none", use())
    with pytest.raises(MandateNotFound):
        await world.mandates.capture("acme", "mnd_none", "use_1", USD)
    with pytest.raises(NotFound):
        await world.mandates.release("acme", mandate["id"], "use_1")


async def test_what_proves_a_use_is_signed_by_grantor_and_authority(world: World) -> None:
    """A stranger with the evidence alone re-derives the digest, the grantor's signature and the authority's word."""
    mandate = await world.grant()
    used = await world.mandates.use("acme", mandate["id"], use("0.25"))
    proof = await world.mandates.evidence("acme", mandate["id"], used["use"]["id"])
    assert "0x" + eip712.digest(proof["mandate"]["typed_data"]).hex() == proof["mandate"]["digest"] == mandate["digest"]
    assert eip712.recover(proof["mandate"]["typed_data"], proof["mandate"]["signature"]) == GRANTOR.address
    claims = jws.verify(proof["use"]["token"], did=proof["mandate"]["typed_data"]["message"]["authority"])
    assert (claims["use"], claims["mandate"]) == (used["use"]["id"], mandate["id"])
    assert claims["amount_usd_nanos"] == proof["use"]["amount_usd_nanos"] == "250000000"
    with pytest.raises(NotFound):
        await world.mandates.evidence("other", mandate["id"], used["use"]["id"])
