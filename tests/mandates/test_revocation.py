"""A revoked mandate pays nothing more: not what is asked after it, nor what was authorised before it."""

from __future__ import annotations

import asyncio

import pytest

from ledger.clock import seconds
from ledger.errors import AgentNodeError, InvalidInput, LedgerStopped
from ledger.events import EventDraft
from ledger.money import NANOS_PER_USD
from mandates.errors import MandateExpired, MandateNotFound, MandateRevoked, MandateSuspended
from tests.mandates.world import AGENT, DAY_S, GRANTOR, World, restarted, use
from trust.errors import SignatureInvalid
from trust.signatures import eip712

USD = NANOS_PER_USD


@pytest.mark.database
async def test_a_mandate_revoked_between_authorise_and_signing_signs_nothing(world: World) -> None:
    """mark_sent refuses, so that no payment is signed; the hold is gone and nothing was spent."""
    mandate = await world.grant()
    authorized = await world.mandates.authorize("acme", mandate["id"], use(2))

    revoked = await world.mandates.revoke("acme", mandate["id"])

    assert revoked["mandate"]["status"] == "revoked" and revoked["mandate"]["amount_held_usd"] == 0
    with pytest.raises(MandateRevoked):
        await world.mandates.mark_sent("acme", authorized.use["id"])
    with pytest.raises(MandateRevoked):
        await world.mandates.capture("acme", mandate["id"], authorized.use["id"], 2 * USD)
    with pytest.raises(MandateRevoked):
        await world.mandates.authorize("acme", mandate["id"], use(1))
    assert await world.money(mandate["id"]) == (0, 0)
    assert (await world.mandates.uses("acme", mandate["id"]))["data"][0]["status"] == "released"


async def test_a_mandate_revoked_between_check_and_hold_authorises_nothing(world: World) -> None:
    """The use passed every check when the revocation came: refused all the same, no token, nothing held."""
    mandate = await world.grant()
    world.spend.meanwhile = lambda: world.mandates.revoke("acme", mandate["id"])
    with pytest.raises(MandateRevoked):
        await world.mandates.authorize("acme", mandate["id"], use(2))
    assert await world.money(mandate["id"]) == (0, 0)


async def test_a_mandate_suspended_between_check_and_hold_authorises_nothing(world: World) -> None:
    """As with a revocation, and the use is not left behind as one that is held."""
    mandate = await world.grant()
    world.spend.meanwhile = lambda: world.mandates.suspend("acme", mandate["id"])
    with pytest.raises(MandateSuspended):
        await world.mandates.authorize("acme", mandate["id"], use(2))
    assert await world.money(mandate["id"]) == (0, 0)
    assert (await world.mandates.uses("acme", mandate["id"]))["data"][0]["status"] == "released"


async def test_a_revocation_cut_short_stops_what_was_authorised_all_the_same(world: World) -> None:
    """Its process ended before the holds were given back: nothing is captured; asked again, it gives them back."""
    mandate = await world.grant()
    authorized = await world.mandates.authorize("acme", mandate["id"], use(2))
    await world.spend.close()
    with pytest.raises(LedgerStopped):
        await world.mandates.revoke("acme", mandate["id"])

    after = await restarted(world)

    with pytest.raises(MandateRevoked):
        await after.mandates.capture("acme", mandate["id"], authorized.use["id"], 2 * USD)
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    await after.mandates.revoke("acme", mandate["id"])
    assert await world.money(mandate["id"]) == (0, 0)
    await after.spend.close()


async def test_what_was_sent_before_the_revocation_is_left_to_the_chain(world: World) -> None:
    """A payment that left before is money that may move: it stays held and is captured; nothing new is signed."""
    mandate = await world.grant()
    sent, unsent = [await world.mandates.authorize("acme", mandate["id"], use(2)) for _ in range(2)]
    await world.mandates.mark_sent("acme", sent.use["id"])
    await world.mandates.revoke("acme", mandate["id"])
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    with pytest.raises(MandateRevoked):
        await world.mandates.mark_sent("acme", unsent.use["id"])
    with pytest.raises(MandateRevoked):
        await world.mandates.mark_sent("acme", sent.use["id"])
    event = EventDraft(kind="hire", tenant_id="acme")
    await world.mandates.capture("acme", mandate["id"], sent.use["id"], 2 * USD, event)
    assert await world.money(mandate["id"]) == (2 * USD, 0)


@pytest.mark.database
async def test_revocation_and_use_race_to_one_order(world: World) -> None:
    """Thirty uses against a revocation: what it reports as spent is what was spent, and nothing stays held."""
    mandate = await world.grant()
    uses = [world.mandates.use("acme", mandate["id"], use("0.1")) for _ in range(15)]
    marks = [_authorise_and_send(world, mandate["id"]) for _ in range(15)]
    *results, revoked = await asyncio.gather(
        *uses, *marks, world.mandates.revoke("acme", mandate["id"]), return_exceptions=True
    )
    assert not [
        result for result in results if isinstance(result, Exception) and not isinstance(result, AgentNodeError)
    ]
    sent = [result for result in results if isinstance(result, str)]
    spent, held = await world.money(mandate["id"])
    assert held == len(sent) * USD // 10
    assert spent == sum(isinstance(result, dict) for result in results) * USD // 10
    assert not isinstance(revoked, BaseException)
    assert (
        revoked["mandate"]["amount_spent_usd_exact"]
        == ((await world.mandates.get("acme", mandate["id"]))["mandate"]["amount_spent_usd_exact"])
    )


async def test_a_revocation_is_for_good(world: World) -> None:
    """Again: as before. Neither resuming nor bringing the same mandate again revives it."""
    prepared = await world.mandates.prepare("acme", world.body())
    body = {"mandate": prepared["mandate"] | {"signature": eip712.sign(prepared["typed_data"], GRANTOR)}}
    mandate = (await world.mandates.create("acme", body))["mandate"]
    first = await world.mandates.revoke("acme", mandate["id"])
    world.clock.pass_s(60)
    assert await world.mandates.revoke("acme", mandate["id"]) == first
    with pytest.raises(MandateRevoked):
        await world.mandates.resume("acme", mandate["id"])
    assert (await world.mandates.create("acme", body))["mandate"]["status"] == "revoked"


async def test_its_grantor_revokes_from_anywhere_by_a_signature(world: World) -> None:
    """A signed MandateRevocation ends it for any caller; one by another key, or of another mandate, does not."""
    mandate, other = await world.grant(), await world.grant()
    issued_at_s = seconds(world.clock.now_us())
    good = _revocation(mandate, issued_at_s, GRANTOR)
    for bad in (_revocation(mandate, issued_at_s, AGENT), _revocation(other, issued_at_s, GRANTOR)):
        with pytest.raises(SignatureInvalid):
            await world.mandates.revoke("stranger", mandate["id"], bad)
    with pytest.raises(InvalidInput, match="issued_at"):
        await world.mandates.revoke("stranger", mandate["id"], {"signature": good["signature"]})
    with pytest.raises(InvalidInput, match="issued_at"):
        await world.mandates.revoke("stranger", mandate["id"], _revocation(mandate, issued_at_s + 301, GRANTOR))
    with pytest.raises(MandateNotFound):
        await world.mandates.revoke("stranger", mandate["id"])
    assert (await world.mandates.get("acme", mandate["id"]))["mandate"]["status"] == "active"

    await world.mandates.revoke("stranger", mandate["id"], good)

    assert (await world.mandates.get("acme", mandate["id"]))["mandate"]["status"] == "revoked"


async def test_a_suspended_mandate_authorises_and_signs_nothing_until_it_is_resumed(world: World) -> None:
    """MANDATE_SUSPENDED for new uses and for signing; afterwards both go on."""
    mandate = await world.grant()
    authorized = await world.mandates.authorize("acme", mandate["id"], use(2))
    assert (await world.mandates.suspend("acme", mandate["id"]))["mandate"]["status"] == "suspended"
    with pytest.raises(MandateSuspended):
        await world.mandates.authorize("acme", mandate["id"], use(1))
    with pytest.raises(MandateSuspended):
        await world.mandates.mark_sent("acme", authorized.use["id"])
    assert await world.money(mandate["id"]) == (0, 2 * USD)
    assert (await world.mandates.resume("acme", mandate["id"]))["mandate"]["status"] == "active"
    await world.mandates.mark_sent("acme", authorized.use["id"])


async def test_nothing_is_signed_after_the_mandates_time(world: World) -> None:
    """Authorised in its last minute, signed after it: refused."""
    mandate = await world.grant()
    world.clock.pass_s(DAY_S - 60)
    authorized = await world.mandates.authorize("acme", mandate["id"], use(2))
    world.clock.pass_s(60)
    with pytest.raises(MandateExpired):
        await world.mandates.mark_sent("acme", authorized.use["id"])


async def _authorise_and_send(world: World, mandate_id: str) -> str:
    authorized = await world.mandates.authorize("acme", mandate_id, use("0.1"))
    use_id: str = authorized.use["id"]
    await world.mandates.mark_sent("acme", use_id)
    return use_id


def _revocation(mandate: dict[str, object], issued_at_s: int, account: object) -> dict[str, object]:
    digest = bytes.fromhex(str(mandate["digest"])[2:])
    message = eip712.RevocationMessage(digest, issued_at_s)
    typed_data = eip712.revocation_typed_data(message, 31337, str(mandate["authority"]))
    return {"signature": eip712.sign(typed_data, account), "issued_at": issued_at_s}  # type: ignore[arg-type]
