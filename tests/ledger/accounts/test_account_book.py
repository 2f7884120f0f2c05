"""The account of a call: which budgets it takes from, in which order, at which limits, and who pays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.accounts import DEFAULT_LIMITS, Caller
from ledger.database import Database
from ledger.errors import NotFound
from tests.ledger.accounts.world import ACME, World, opened

USD = 1_000_000_000
HOUR = "2025-11-24T16"
DAY = "2025-11-24"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database) as world:
        yield world


@pytest.mark.database
async def test_a_call_takes_from_the_layers_in_their_order_at_the_default_limits(world: World) -> None:
    """1000 requests an hour, 1000 USD a day, 10 at a time, and the operator pays for an open tenant."""
    account = await world.book.open(ACME)

    assert [(take.budget_id, take.how) for take in account.takes] == [
        (f"rate:acme:{HOUR}", "count"),
        (f"day:acme:{DAY}", "whole"),
        ("slots:acme", "slot"),
    ]
    assert await world.limits(account) == {
        f"rate:acme:{HOUR}": 1000,
        f"day:acme:{DAY}": 1000 * USD,
        "slots:acme": 10,
    }
    assert [(take.budget_id, take.how) for take in account.payers(test=True)] == [("open:acme", "share")]
    assert account.policy.limits == DEFAULT_LIMITS


async def test_a_prepaid_tenant_pays_from_credits_and_test_money_only_where_it_is_taken(database: Database) -> None:
    """Nothing of the operator's; test credits go first, and only to upstreams that take them."""
    async with opened(database, "prepaid") as world:
        account = await world.book.open(ACME)
        assert [take.budget_id for take in account.payers(test=False)] == ["credits:acme"]
        assert [take.budget_id for take in account.payers(test=True)] == ["test-credits:acme", "credits:acme"]


async def test_a_key_with_limits_of_its_own_is_counted_beside_its_tenant(world: World) -> None:
    """Only what its policy limits, never above the tenant's."""
    key = await world.accounts.create_key("acme", "ci", ["chat"])
    await world.says("key", key.id, {"limits": {"requests_per_hour": 5, "usd_per_request": 999}})

    account = await world.book.open(Caller("acme", key.id, frozenset({"chat"})))

    assert [take.budget_id for take in account.takes[:2]] == [f"rate:acme:{HOUR}", f"rate:{key.id}:{HOUR}"]
    assert sum(take.budget_id.startswith("day:") for take in account.takes) == 1
    assert (await world.limits(account))[f"rate:{key.id}:{HOUR}"] == 5
    assert account.policy.limits.requests_per_hour == 5
    assert account.policy.limits.usd_nanos_per_request == 50 * USD


@pytest.mark.database
async def test_a_changed_policy_counts_within_a_second_in_every_process(world: World) -> None:
    """Lowered below what is spent and held leaves no room, and follows as holds end; raised opens room."""
    account, other = await world.book.open(ACME), world.another_book()
    await other.open(ACME)
    day = f"day:acme:{DAY}"
    hold = await world.spend.reserve(tenant_id="acme", budgets=[day], amount_usd_nanos=8 * USD)
    await world.says("tenant", "acme", {"limits": {"usd_per_day": 5}})
    assert await world.book.open(ACME) is account

    world.clock.pass_s(1)
    assert (await world.limits(await other.open(ACME)))[day] == 8 * USD
    await world.spend.capture(hold.id, 2 * USD)
    world.clock.pass_s(1)
    assert (await world.limits(await world.book.open(ACME)))[day] == 5 * USD
    await world.says("tenant", "acme", {"limits": {"usd_per_day": 50}})
    world.book.forget("acme")
    assert (await world.limits(await world.book.open(ACME)))[day] == 50 * USD


async def test_a_budget_of_an_owner_counts_where_the_request_names_it(world: World) -> None:
    """By attribution, with or without `_id`; a day, a month and a total each have a budget of their own."""
    budgets = [
        {"owner_type": "department", "owner_id": "claims", "period": period, "limit_usd": limit}
        for period, limit in (("day", 1), ("month", 20), ("total", 300))
    ]
    await world.says("tenant", "acme", {"budgets": budgets})

    plain = await world.book.open(ACME, None, {"department_id": "sales", "employee_id": "claims"})
    owned = await world.book.open(ACME, None, {"department_id": "claims"})
    named = await world.book.open(ACME, None, {"department": "claims"})

    assert len(plain.takes) == 3
    assert {each: limit for each, limit in (await world.limits(owned)).items() if each.startswith("owner:")} == {
        f"owner:acme:department:claims:{DAY}": 1 * USD,
        "owner:acme:department:claims:2025-11": 20 * USD,
        "owner:acme:department:claims:total": 300 * USD,
    }
    assert named.takes == owned.takes


@pytest.mark.database
async def test_a_clock_that_moves_back_reopens_no_hour_and_no_day(world: World) -> None:
    """The last period that was opened counts, in a process that has just started too."""
    world.clock.pass_s(86_400 - world.clock.now_us() // 1_000_000 % 86_400)
    later = await world.book.open(ACME)
    world.clock.pass_s(-1)
    assert (await world.book.open(ACME)).takes == later.takes
    assert (await world.another_book().open(ACME)).takes == later.takes
    world.clock.pass_s(3601)
    assert (await world.book.open(ACME)).takes != later.takes


async def test_a_trial_skips_the_payers_own_budgets_only(world: World) -> None:
    """Rate and concurrency hold, and the node's promotion of the day pays."""
    account = await world.book.open(ACME, trial=True)
    assert [take.budget_id for take in account.takes] == [f"rate:acme:{HOUR}", "slots:acme"]
    assert [take.budget_id for take in account.payers(test=False)] == [f"promotion:{DAY}"]
    promotion = await world.spend.budget(f"promotion:{DAY}")
    assert promotion is not None and (promotion.tenant_id, promotion.limit_usd_nanos) == ("node", 7)


async def test_who_does_not_exist_has_no_account(world: World) -> None:
    """Neither a tenant nor a session that is not there."""
    with pytest.raises(NotFound):
        await world.book.open(Caller("nobody", None, frozenset()))
    with pytest.raises(NotFound):
        await world.book.open(ACME, "sess_none")


async def test_a_tenants_day_is_the_one_that_its_calls_take_from(world: World) -> None:
    """For work that is held on the day alone, such as hires."""
    assert set(await world.book.days("acme")) <= {take.budget_id for take in (await world.book.open(ACME)).takes}
    key = await world.accounts.create_key("acme", "ci", ["spend"])
    await world.says("key", key.id, {"limits": {"usd_per_day": 1}})
    assert await world.book.days("acme", key.id) == [f"day:acme:{DAY}", f"day:{key.id}:{DAY}"]


async def test_an_owners_name_never_makes_the_budget_of_another_tenant(world: World) -> None:
    """Tenant `acme` with the owner `task:q`, and tenant `acme:task` with the owner `q`: two budgets."""
    await world.accounts.ensure_tenant("acme:task", "Other")
    for tenant, owner in (("acme", "task:q"), ("acme:task", "q")):
        budget = {"owner_type": "task", "owner_id": owner, "period": "total", "limit_usd": 1}
        await world.says("tenant", tenant, {"budgets": [budget]})
    first = await world.book.open(ACME, None, {"task": "task:q"})
    second = await world.book.open(Caller("acme:task", None, frozenset()), None, {"task": "q"})
    assert first.takes[-1].budget_id != second.takes[-1].budget_id
