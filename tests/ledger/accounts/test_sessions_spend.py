"""Sessions on the spend path: the cap holds whoever pays, funding opens it again, ending frees what is free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlmodel import select

from ledger.accounts import Account, Leftovers, NewSession, OwnerBudget, Sessions
from ledger.database import Database
from ledger.errors import BudgetRefused, NotFound, SessionEnded, SessionExpired
from ledger.events import EventDraft
from ledger.movements import Movement
from ledger.spend import Hold
from tests.ledger.accounts.world import ACME, World, opened

USD = 1_000_000_000


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database, "prepaid") as world:
        yield world


@pytest.fixture
def sessions(world: World) -> Sessions:
    return Sessions(world.database, world.clock, world.book, has_test_money=True)


async def hold(world: World, account: Account, usd_nanos: int) -> Hold:
    budgets = (*account.takes, *account.payers(test=True))
    return await world.spend.reserve(tenant_id="acme", budgets=budgets, amount_usd_nanos=usd_nanos)


@pytest.mark.database
async def test_a_session_is_a_cap_and_funding_is_money_that_raises_it(world: World, sessions: Sessions) -> None:
    """Unfunded, a prepaid tenant's session buys nothing; funded, not more than its money."""
    made = await sessions.create(ACME, NewSession(5 * USD))
    with pytest.raises(BudgetRefused):
        await hold(world, await world.book.open(ACME, made.id), USD)

    await sessions.fund("acme", made.id, 2 * USD, "test")
    account = await world.book.open(ACME, made.id)
    held = await hold(world, account, USD)
    with pytest.raises(BudgetRefused) as refused:
        await hold(world, account, 2 * USD)
    assert refused.value.budget_id.endswith(f"funds:{made.id}")
    await world.spend.capture(held.id, USD)
    now = await sessions.get("acme", made.id)
    assert (now.total_usd_nanos, now.spent_usd_nanos, now.room_usd_nanos, now.status) == (
        7 * USD,
        USD,
        6 * USD,
        "active",
    )


@pytest.mark.database
async def test_a_refused_session_is_exhausted_until_it_is_funded(world: World, sessions: Sessions) -> None:
    """Money that is left is still spent: what fits is served all the same."""
    made = await sessions.create(ACME, NewSession(USD))
    await sessions.note_refused(made.id)
    await sessions.note_refused("sess_none")
    assert (await sessions.get("acme", made.id)).status == "exhausted"
    assert [each.id for each in await sessions.list("acme", "exhausted")] == [made.id]
    assert await sessions.list("acme", "active") == []
    await world.book.open(ACME, made.id)
    await sessions.fund("acme", made.id, USD, "test")
    assert (await sessions.get("acme", made.id)).status == "active"


async def test_a_session_that_is_spent_to_the_nano_is_exhausted(database: Database) -> None:
    """What is only held may still come back."""
    async with opened(database) as world:
        sessions = Sessions(database, world.clock, world.book, has_test_money=True)
        made = await sessions.create(ACME, NewSession(2))
        held = await hold(world, await world.book.open(ACME, made.id), 2)
        assert (await sessions.get("acme", made.id)).status == "active"
        await world.spend.capture(held.id, 2)
        assert (await sessions.get("acme", made.id)).status == "exhausted"


@pytest.mark.database
async def test_ending_frees_what_is_not_held_and_work_in_flight_is_captured(world: World, sessions: Sessions) -> None:
    """From the very end no other process takes from it either; test money that is left goes back."""
    made = await sessions.create(ACME, NewSession(5 * USD))
    await sessions.fund("acme", made.id, 3 * USD, "test")
    other = world.another_book()
    elsewhere = await other.open(ACME, made.id)
    held = await hold(world, elsewhere, USD)

    ended = await sessions.end("acme", made.id)

    assert (ended.status, ended.total_usd_nanos, ended.held_usd_nanos, ended.room_usd_nanos) == (
        "ended",
        8 * USD,
        USD,
        0,
    )
    with pytest.raises(BudgetRefused):
        await hold(world, elsewhere, 1)
    with pytest.raises(SessionEnded):
        await world.book.open(ACME, made.id)
    assert (await world.spend.capture(held.id, USD)).captured_usd_nanos == USD
    purse = await world.spend.budget(f"test-funds:{made.id}")
    assert purse is not None and (purse.limit_usd_nanos, purse.room_usd_nanos) == (USD, 0)
    with pytest.raises(SessionEnded):
        await sessions.fund("acme", made.id, USD, "test")


@pytest.mark.database
async def test_test_money_that_calls_free_after_the_end_goes_back_too(world: World, sessions: Sessions) -> None:
    """Held while the session ended, then partly spent: the rest is given back once, and what is still held is not."""
    made = await sessions.create(ACME, NewSession(5 * USD))
    await sessions.fund("acme", made.id, 3 * USD, "test")
    account = await world.book.open(ACME, made.id)
    first, second = await hold(world, account, USD), await hold(world, account, USD)
    await sessions.end("acme", made.id)
    leftovers, purse = Leftovers(world.database, world.clock), f"test-funds:{made.id}"
    assert await leftovers.give_back() == 0

    await world.spend.capture(first.id, USD // 4)
    assert [await leftovers.give_back(), await leftovers.give_back()] == [1, 0]
    await world.spend.release(second.id)
    assert [await leftovers.give_back(), await leftovers.give_back()] == [1, 0]

    left = await world.spend.budget(purse)
    assert left is not None and (left.limit_usd_nanos, left.room_usd_nanos) == (USD // 4, 0)
    async with world.database.read() as session:
        refunds = (await session.exec(select(Movement).where(Movement.kind == "refund"))).all()
    assert {(each.from_account, each.to_account) for each in refunds} == {(purse, "test")}
    assert sorted(each.usd_nanos for each in refunds) == [USD * 3 // 4, USD, USD]


async def test_an_ended_session_takes_nothing_where_the_operator_pays(database: Database) -> None:
    """The cap itself has no room any more, for a process that remembers the account too."""
    async with opened(database) as world:
        sessions = Sessions(database, world.clock, world.book, has_test_money=True)
        made = await sessions.create(ACME, NewSession(5 * USD))
        elsewhere = await world.another_book().open(ACME, made.id)
        await sessions.end("acme", made.id)
        with pytest.raises(BudgetRefused) as refused:
            await hold(world, elsewhere, 1)
        assert refused.value.budget_id == f"session:{made.id}"


async def test_a_session_expires_while_its_account_is_remembered(world: World, sessions: Sessions) -> None:
    """The clock is looked at on each call."""
    made = await sessions.create(ACME, NewSession(USD, expires_in_s=10))
    world.clock.pass_s(9.5)
    await world.book.open(ACME, made.id)
    world.clock.pass_s(0.5)
    with pytest.raises(SessionExpired):
        await world.book.open(ACME, made.id)
    with pytest.raises(SessionExpired):
        await sessions.fund("acme", made.id, USD, "test")
    assert (await sessions.get("acme", made.id)).status == "expired"
    assert (await sessions.end("acme", made.id)).status == "ended"


async def test_a_session_narrows_the_policy_and_names_its_agent(world: World, sessions: Sessions) -> None:
    """Its own limits for a request count in it, and its agent's budget, whatever the request says."""
    budget = {"owner_type": "agent", "owner_id": "a1", "period": "day", "limit_usd": 4}
    await world.says("tenant", "acme", {"budgets": [budget], "models": {"allow": ["m1", "m2"]}})
    policy = {"limits": {"usd_per_request": 2}, "models": {"allow": ["m2", "m3"]}}
    made = await sessions.create(ACME, NewSession(USD, agent_id="a1", policy=policy))

    account = await world.book.open(ACME, made.id, {"agent_id": "somebody"})

    assert account.policy.limits.usd_nanos_per_request == 2 * USD
    assert account.policy.models.allow == {"m2"}
    assert account.policy.budgets == (OwnerBudget("agent", "a1", "day", 4 * USD),)
    assert [take.budget_id for take in account.takes[-2:]] == ["owner:acme:agent:a1:2025-11-24", f"session:{made.id}"]


@pytest.mark.database
async def test_fundings_and_spends_at_once_lose_nothing(world: World, sessions: Sessions) -> None:
    """Each funding raises cap and money by its amount, whatever is spent meanwhile."""
    made = await sessions.create(ACME, NewSession(10))
    await sessions.fund("acme", made.id, 10, "test")
    account = await world.book.open(ACME, made.id)

    async def spend_one() -> None:
        await world.spend.capture((await hold(world, account, 1)).id, 1)

    await asyncio.gather(
        *(sessions.fund("acme", made.id, 5, "test") for _ in range(6)), *(spend_one() for _ in range(10))
    )
    now = await sessions.get("acme", made.id)
    assert (now.total_usd_nanos, now.spent_usd_nanos, now.held_usd_nanos, now.room_usd_nanos) == (50, 10, 0, 40)
    purse = await world.spend.budget(f"test-funds:{made.id}")
    assert purse is not None and purse.room_usd_nanos == 30


async def test_what_a_session_came_to_counts_cached_answers_too(world: World, sessions: Sessions) -> None:
    """A request of three attempts is one request; another tenant learns nothing."""
    made = await sessions.create(ACME, NewSession(USD))
    for request_id, kind in (("r1", "engine_call"), ("r1", "engine_call"), ("r2", "cache_hit"), ("r3", "refusal")):
        draft = EventDraft(
            kind=kind, tenant_id="acme", session_id=made.id, request_id=request_id, input_tokens=3, output_tokens=2
        )
        await world.spend.record(draft)
    usage = await sessions.usage("acme", made.id)
    assert (usage.requests, usage.cache_hits, usage.input_tokens, usage.output_tokens) == (2, 1, 9, 6)
    with pytest.raises(NotFound):
        await sessions.usage("other", made.id)
