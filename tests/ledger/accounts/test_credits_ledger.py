"""Credits on the spend path: spent before anything else, split within one hold, and every nano in the history."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from ledger.accounts import Credits, NewSession, Sessions
from ledger.database import Database
from ledger.errors import BudgetRefused
from ledger.events import EventDraft
from tests.ledger.accounts.world import ACME, World, opened
from tests.rounds import rounds

CREDIT = 10_000_000


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database, "prepaid") as world:
        yield world


@pytest.fixture
def credits(world: World) -> Credits:
    return Credits(world.database, world.clock, world.book, has_test_money=True)


@pytest.mark.database
async def test_one_call_is_split_over_credits_and_the_next_source_in_one_hold(world: World, credits: Credits) -> None:
    """Credits first, the rest from the session's funds; the event says how much were credits."""
    sessions = Sessions(world.database, world.clock, world.book, has_test_money=True)
    session = await sessions.create(ACME, NewSession(100 * CREDIT))
    await sessions.fund("acme", session.id, 100 * CREDIT, "test")
    await credits.purchase("acme", 3 * CREDIT, "test")
    account = await world.book.open(ACME, session.id)

    hold = await world.spend.reserve(
        tenant_id="acme", budgets=(*account.takes, *account.payers(test=True)), amount_usd_nanos=5 * CREDIT
    )
    event = EventDraft(kind="engine_call", tenant_id="acme", request_id="r1")
    await world.spend.capture(hold.id, 4 * CREDIT, event=event)

    assert (await credits.balance("acme")).usd_nanos == 0
    purse = await world.spend.budget(f"test-funds:{session.id}")
    assert purse is not None and purse.spent_usd_nanos == CREDIT
    newest = (await credits.history("acme")).entries[0]
    assert (newest.kind, newest.usd_nanos, newest.balance_usd_nanos, newest.request_id) == (
        "spend",
        -3 * CREDIT,
        0,
        "r1",
    )


async def test_real_money_only_is_asked_for_what_takes_no_test_money(world: World, credits: Credits) -> None:
    """Test credits buy nothing from an upstream that bills."""
    await credits.purchase("acme", 5 * CREDIT, "test")
    account = await world.book.open(ACME)
    with pytest.raises(BudgetRefused):
        await world.spend.reserve(
            tenant_id="acme", budgets=(*account.takes, *account.payers(test=False)), amount_usd_nanos=1
        )


@pytest.mark.database
async def test_the_history_sums_to_the_balance(world: World, credits: Credits) -> None:
    """After any purchases, captures and releases, page by page, each line with the balance after it."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(rounds(25)):
        world.clock.pass_s(chance.choice([0, 0.3]))
        match chance.randrange(4):
            case 0:
                await credits.purchase("acme", chance.choice([300_000, CREDIT, 96 * 100 * CREDIT]), "test")
            case _:
                await _spend(world, chance)
    entries, cursor = [], None
    while True:
        page = await credits.history("acme", limit=7, cursor=cursor)
        entries += page.entries
        if (cursor := page.next_cursor) is None:
            break
    balance = await credits.balance("acme")
    assert balance.held_usd_nanos == 0, seed
    assert sum(entry.usd_nanos for entry in entries) == balance.usd_nanos, seed
    assert len({entry.id for entry in entries}) == len(entries), seed
    after = balance.usd_nanos
    for entry in entries:
        assert entry.balance_usd_nanos == after, seed
        after -= entry.usd_nanos
    assert after == 0, seed


async def _spend(world: World, chance: random.Random) -> None:
    account = await world.book.open(ACME)
    asked = chance.randrange(1, 2 * CREDIT)
    try:
        hold = await world.spend.reserve(
            tenant_id="acme", budgets=(*account.takes, *account.payers(test=True)), amount_usd_nanos=asked
        )
    except BudgetRefused:
        return None
    if chance.random() < 0.2:
        return await world.spend.release(hold.id)
    event = EventDraft(kind="engine_call", tenant_id="acme", request_id="r")
    await world.spend.capture(hold.id, chance.randrange(asked + 1), event=event)
    return None
