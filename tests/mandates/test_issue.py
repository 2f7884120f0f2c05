"""Mandates prepared, signed by their grantor, kept once, and shown to their tenant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from eth_account import Account

from ledger.errors import AgentNodeError, Conflict, InvalidInput
from mandates import Mandates
from mandates.errors import MandateExpired, MandateNotFound
from tests.mandates.world import AGENT, CHAIN_ID, DAY_S, GRANTOR, PAYEE, STRANGER, World, did, use
from trust.errors import SignatureInvalid
from trust.signatures import eip712, secp256k1


@pytest.mark.database
async def test_a_prepared_and_signed_mandate_is_kept_as_it_was_signed(world: World) -> None:
    """prepare completes it, create keeps it, get shows it; the digest of what is shown is what was signed."""
    body = world.body(allowed_categories=["search"], allowed_payees=[PAYEE], max_per_use_usd="2.5", max_uses=7)
    prepared = await world.mandates.prepare("acme", body)
    completed = prepared["mandate"]
    assert completed["authority"] == world.keys.did and completed["chain_id"] == CHAIN_ID
    assert completed["constraints"]["valid_from"] == "2025-11-24T16:00:00.000Z"
    assert completed["constraints"]["allowed_payees"] == [PAYEE.lower()]
    assert prepared["digest"] == "0x" + eip712.digest(prepared["typed_data"]).hex()

    signature = eip712.sign(prepared["typed_data"], GRANTOR)
    created = await world.mandates.create("acme", {"mandate": completed | {"signature": signature}})

    mandate = created["mandate"]
    assert mandate["id"].startswith("mnd_") and mandate["tenant_id"] == "acme" and mandate["status"] == "active"
    assert (mandate["amount_spent_usd"], mandate["amount_spent_usd_exact"]) == (0.0, "0")
    assert (mandate["digest"], mandate["signature"]) == (prepared["digest"], signature)
    assert {name: mandate[name] for name in completed} == completed
    assert await world.mandates.get("acme", mandate["id"]) == created
    assert (await world.mandates.list("acme")) == {"object": "list", "data": [mandate]}
    again = await world.mandates.prepare("acme", {"mandate": {name: mandate[name] for name in completed}})
    assert again["digest"] == mandate["digest"]


@pytest.mark.database
async def test_a_bare_body_with_a_signature_means_what_was_prepared_last(world: World) -> None:
    """Equal fields in another spelling find it; other fields, another tenant or another hour do not."""
    body = world.body(allowed_payees=[PAYEE], max_amount_usd="19.990")
    await world.mandates.prepare("acme", body)
    prepared = await world.mandates.prepare("acme", body)
    signed = {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    respelled = world.body(allowed_payees=[PAYEE.lower()], max_amount_usd=19.99)["mandate"] | signed
    changed = world.body(allowed_payees=[PAYEE], max_amount_usd=20)["mandate"] | signed

    for tenant, mandate in (("other", respelled), ("acme", changed)):
        with pytest.raises(SignatureInvalid):
            await world.mandates.create(tenant, {"mandate": mandate})
    world.clock.pass_s(3599)
    created = await world.mandates.create("acme", {"mandate": respelled})
    assert created["mandate"]["digest"] == prepared["digest"]
    world.clock.pass_s(1)
    with pytest.raises(SignatureInvalid):
        await world.mandates.create("acme", {"mandate": respelled})


@pytest.mark.database
async def test_one_digest_is_one_mandate(world: World) -> None:
    """Ten at once, and once more: one mandate, one budget; another tenant cannot bring it a second time."""
    prepared = await world.mandates.prepare("acme", world.body())
    signature = eip712.sign(prepared["typed_data"], GRANTOR)
    body = {"mandate": prepared["mandate"] | {"signature": signature}}
    created = await asyncio.gather(*(world.mandates.create("acme", body) for _ in range(10)))
    assert len({answer["mandate"]["id"] for answer in created}) == 1

    await world.mandates.use("acme", created[0]["mandate"]["id"], use(10))
    again = (await world.mandates.create("acme", body))["mandate"]
    assert (again["id"], again["status"]) == (created[0]["mandate"]["id"], "exhausted")
    with pytest.raises(Conflict):
        await world.mandates.create("other", body)


async def test_only_its_grantor_signs_a_mandate(world: World) -> None:
    """None, another's, the agent's, one of another mandate, one with a high s: SIGNATURE_INVALID, and none is kept."""
    prepared = await world.mandates.prepare("acme", world.body())
    other = await world.mandates.prepare("acme", world.body(max_amount_usd=9))
    good = bytes.fromhex(eip712.sign(prepared["typed_data"], GRANTOR)[2:])
    high_s = secp256k1.ORDER - int.from_bytes(good[32:64], "big")
    respelled = "0x" + (good[:32] + high_s.to_bytes(32, "big") + bytes([55 - good[64]])).hex()
    contract_wallet = "0x" + "ab" * 96
    bad = [
        None,
        eip712.sign(prepared["typed_data"], STRANGER),
        eip712.sign(prepared["typed_data"], AGENT),
        eip712.sign(other["typed_data"], GRANTOR),
        respelled,
        contract_wallet,
        "0x",
    ]
    for signature in bad:
        with pytest.raises(SignatureInvalid):
            await world.mandates.create("acme", {"mandate": prepared["mandate"] | {"signature": signature}})
    assert (await world.mandates.list("acme"))["data"] == []


async def test_a_contract_wallets_signature_is_refused_in_words_that_help(world: World) -> None:
    """The message says that EIP-1271 is not taken here, rather than that some bytes are wrong."""
    prepared = await world.mandates.prepare("acme", world.body())
    with pytest.raises(SignatureInvalid, match="EIP-1271"):
        await world.mandates.create("acme", {"mandate": prepared["mandate"] | {"signature": "0x" + "ab" * 96}})


@pytest.mark.parametrize(
    "changed",
    [
        {"authority": "did:key:zDnaeSomebodyElse"},
        {"chain_id": 8453},
        {"nonce": "0x" + "00" * 32},
        {"agent_did": did(STRANGER)},
        {"type": "payment"},
    ],
)
async def test_what_was_signed_cannot_be_changed(world: World, changed: dict[str, Any]) -> None:
    """A completed mandate with any member changed after the signature is refused."""
    prepared = await world.mandates.prepare("acme", world.body())
    signed = prepared["mandate"] | {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    with pytest.raises(AgentNodeError) as refused:
        await world.mandates.create("acme", {"mandate": signed | changed})
    assert refused.value.code in ("SIGNATURE_INVALID", "INVALID_INPUT")
    assert (await world.mandates.create("acme", {"mandate": signed}))["mandate"]["status"] == "active"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_amount_usd", 11),
        ("allowed_categories", []),
        ("allowed_payees", []),
        ("max_per_use_usd", 3),
        ("max_uses", 8),
        ("valid_until", 1_764_200_000),
        ("valid_from", 1_763_000_000),
    ],
)
async def test_no_constraint_is_outside_the_signature(world: World, name: str, value: Any) -> None:
    """Each of them, those of the type and those in constraintsHash, changed after the signature is refused."""
    body = world.body(allowed_categories=["a"], allowed_payees=[PAYEE], max_per_use_usd=2, max_uses=7)
    prepared = await world.mandates.prepare("acme", body)
    signed = prepared["mandate"] | {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    constraints = {key: kept for key, kept in signed["constraints"].items() if key != f"{name}_exact"}
    with pytest.raises(SignatureInvalid):
        await world.mandates.create("acme", {"mandate": signed | {"constraints": constraints | {name: value}}})


async def test_a_mandate_of_another_authority_is_not_taken(world: World) -> None:
    """The same mandate at two nodes spends once: only the one that it names counts it."""
    elsewhere = Mandates(world.database, world.spend, world.clock, _OtherNode(), CHAIN_ID)
    prepared = await elsewhere.prepare("acme", world.body())
    signed = prepared["mandate"] | {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    with pytest.raises(InvalidInput, match=r"mandate\.authority"):
        await world.mandates.create("acme", {"mandate": signed})


async def test_a_mandate_that_ended_before_it_was_brought_is_refused(world: World) -> None:
    """MANDATE_EXPIRED at creation, though it was rightly signed."""
    prepared = await world.mandates.prepare("acme", world.body())
    signed = prepared["mandate"] | {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}
    world.clock.pass_s(DAY_S)
    with pytest.raises(MandateExpired):
        await world.mandates.create("acme", {"mandate": signed})


async def test_a_mandate_is_its_tenants_own(world: World) -> None:
    """Others cannot read it, list it, see its uses, suspend or revoke it; to them it does not exist."""
    mandate = await world.grant()
    for action in (
        world.mandates.get,
        world.mandates.uses,
        world.mandates.revoke,
        world.mandates.suspend,
        world.mandates.resume,
    ):
        with pytest.raises(MandateNotFound):
            await action("other", mandate["id"])
    assert (await world.mandates.list("other"))["data"] == []


async def test_lists_show_the_newest_first(world: World) -> None:
    """Mandates and uses alike."""
    ids = []
    for _ in range(3):
        ids.append((await world.grant())["id"])
        world.clock.pass_s(1)
    assert [mandate["id"] for mandate in (await world.mandates.list("acme"))["data"]] == ids[::-1]
    uses = []
    for _ in range(3):
        uses.append((await world.mandates.use("acme", ids[0], use("0.1")))["use"]["id"])
        world.clock.pass_s(1)
    assert [shown["id"] for shown in (await world.mandates.uses("acme", ids[0]))["data"]] == uses[::-1]


async def test_a_wallets_signature_of_the_typed_data_as_json_is_good(world: World) -> None:
    """What `prepare` answers can be signed by any wallet that takes eth_signTypedData_v4."""
    prepared = await world.mandates.prepare("acme", world.body("cart", items=[{"id": "a", "amount_usd": 1}]))
    signed = Account.sign_typed_data(GRANTOR.key, full_message=prepared["typed_data"])
    body = {"mandate": prepared["mandate"] | {"signature": "0x" + signed.signature.hex()}}
    assert (await world.mandates.create("acme", body))["mandate"]["status"] == "active"


class _OtherNode:
    did = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"

    def sign(self, payload: dict[str, Any], typ: str) -> str:
        raise AssertionError("nothing is authorised in this test")
