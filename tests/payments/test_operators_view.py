"""The operator sees every payment and how far it came, page by page; and whether ledger and chain agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from payments_world import OpenWallets, World, opened, signed_payload
from sqlmodel import select, text
from test_refunds import paid_over

from agentnode.ground import ground_on
from agentnode.payments import Overview, wanted_of
from agentnode.payments.ledger_check import check_chain, check_ledger
from agentnode.settings import load
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.movements import Movement
from tests.devchain.devchain_process import ChainProcess
from trust.keys import NodeKeys


async def paid(world: World, times: int) -> list[str]:
    """The payers of so many payments, oldest first."""
    payers = []
    for _ in range(times):
        payer, asked = world.chain.funded("1"), await world.require()
        await world.submit(asked, signed_payload(world.chain, payer, asked))
        payers.append(payer.address.lower())
    return payers


@pytest.mark.database
async def test_payments_are_listed_newest_first_in_pages_and_by_filter(world: World) -> None:
    """No row is missing or twice; a payment without a known purchase is among them."""
    payers, view = await paid(world, 3), Overview(world.database, SystemClock())
    async with world.database.write() as session:
        await session.exec(text("UPDATE settlement SET payment_id = '' WHERE payer = :p").bindparams(p=payers[0]))  # type: ignore[call-overload]
    first = await view.page(wanted_of({"limit": "2"}))
    second = await view.page(wanted_of({"limit": "2", "cursor": first["next_cursor"]}))
    rows = [*first["data"], *second["data"]]
    assert [row["payer"] for row in rows] == payers[::-1]
    assert second["next_cursor"] is None
    assert [row["amount_usd_exact"] for row in rows] == ["0.01", "0.01", None]
    assert [row["task_id"] is not None for row in rows] == [True, True, False]
    for query, count in (({"payer": payers[1]}, 1), ({"status": "confirmed"}, 3), ({"status": "failed,reorged"}, 0)):
        assert len((await view.page(wanted_of(query)))["data"]) == count
    assert (await view.page(wanted_of({"until": "2001-01-01T00:00:00Z"})))["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "settled"}, "status"),
        ({"limit": "0"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": "201".zfill(11) + "0" * 5_000}, "limit"),
        ({"limit": "1".zfill(9) + "0" * 9}, "limit"),
        ({"since": "yesterday"}, "since"),
        ({"cursor": "x"}, "cursor"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_filter_that_is_off_is_named(query: dict[str, str], param: str) -> None:
    """A filter that was silently ignored would show what was not asked for."""
    with pytest.raises(InvalidInput) as told:
        wanted_of(query)
    assert told.value.param == param


@pytest.mark.database
async def test_ledger_and_chain_agree_and_each_difference_is_named(world: World) -> None:
    """A movement too many, a settlement the chain does not have, a payment the journal does not have."""
    payments = world.payments

    async def wrong() -> list[str]:
        pay_to = (await world.require()).pay_to
        books = await check_ledger(world.database)
        books += await check_chain(world.database, payments.chain, payments.broadcaster, payments.asset, pay_to)
        return [check.claim for check in books if not check.ok]

    payer, *_ = await paid(world, 2)
    assert await wrong() == []
    async with world.database.write() as session:
        row = (await session.exec(select(Movement))).first()
        assert row is not None
        session.add(Movement(**{**row.model_dump(), "id": "mov_twice"}))
    assert await wrong() == ["what came from payers is what the receipts say"]
    async with world.database.write() as session:
        await session.exec(text("DELETE FROM movements WHERE id = 'mov_twice'"))  # type: ignore[call-overload]
        lie = text("UPDATE settlement SET tx_hash = :h WHERE payer = :p").bindparams(h="0x" + "11" * 32, p=payer)
        await session.exec(lie)  # type: ignore[call-overload]
    assert await wrong() == ["each confirmed settlement is on the chain"]
    async with world.database.write() as session:
        forget = text("UPDATE settlement SET point = 'failed' WHERE payer = :p").bindparams(p=payer)
        await session.exec(forget)  # type: ignore[call-overload]
    assert await wrong() == [
        "what came from payers is what the receipts say",
        "each authorised payment to this node is in the journal",
        "ledger equals chain",
    ]


@pytest.mark.database
async def test_a_purse_and_a_hold_that_nothing_accounts_for_are_named(world: World) -> None:
    """Money that was written into a purse by hand, and a budget that holds for nobody."""

    async def wrong() -> list[str]:
        return [f"{check.claim}: {check.seen}" for check in await check_ledger(world.database) if not check.ok]

    async def changed(what: str) -> None:
        async with world.database.write() as session:
            await session.exec(text(f"UPDATE budgets SET {what} WHERE kind = 'receipt'"))  # type: ignore[call-overload]

    _, receipt = await paid_over(world)
    assert await wrong() == []
    await changed("limit_usd_nanos = limit_usd_nanos + 1")
    [purse] = await wrong()
    assert purse.startswith("each purse has what came into it") and receipt.id in purse
    await changed("limit_usd_nanos = limit_usd_nanos - 1, held_usd_nanos = 1")
    [hold] = await wrong()
    assert hold.startswith("each budget holds what its open holds say") and receipt.id in hold


async def test_settings_that_are_heard_of_nowhere_else_arrive(
    chain: ChainProcess, database: Database, tmp_path: Path
) -> None:
    """Each with a value of its own, so that two which are swapped are seen."""
    usdt = chain.info()["tokens"]["plain"]["address"]
    said = {"usdt_address": usdt, "x402_offer_receipt": False, "compliance_url": "http://127.0.0.1:9"}
    async with opened(chain, database, tmp_path, **said, compliance_timeout_s=7) as world:
        paid = world.payments
        assert [asset.address for asset in paid.refunds._assets] == [paid.asset.address, usdt]
        assert [hook._timeout_s for hook in paid.compliance._hooks] == [7]  # type: ignore[attr-defined]
        assert (await world.require()).extensions == {}
    settings = load({}, data=tmp_path, promotion_usd_per_day="3")
    keys = NodeKeys.open(tmp_path / "keys", "test")
    ground = ground_on(settings, database, SystemClock(), "test", keys, OpenWallets())
    assert ground.book._promotion_usd_nanos_per_day == 3_000_000_000
    await ground.web.aclose()
