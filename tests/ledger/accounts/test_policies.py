"""Policies on the budgets of the period: a limit counts from the transaction that sets it, in every process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ledger.accounts import DEFAULT_LIMITS, Caller, Policies
from ledger.database import Database
from ledger.errors import BudgetRefused
from ledger.spend import Hold, Spend
from tests.ledger.accounts.world import ACME, World, opened

USD = 1_000_000_000


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database) as world:
        yield world


@pytest.fixture
def policies(world: World) -> Policies:
    return Policies(world.database, world.clock, world.book, lambda _: DEFAULT_LIMITS)


async def call(world: World, budgets: tuple[object, ...], usd_nanos: int = 0) -> Hold:
    return await world.spend.reserve(tenant_id="acme", budgets=budgets, amount_usd_nanos=usd_nanos)  # type: ignore[arg-type]


@pytest.mark.database
async def test_a_limit_counts_at_once_for_accounts_that_other_processes_remember(
    world: World, policies: Policies
) -> None:
    """Requests, days, slots, owners and keys alike, without a second passing."""
    key = await world.accounts.create_key("acme", "ci", ["chat"])
    await policies.set_key("acme", key.id, {"limits": {"requests_per_hour": 100}})
    budget = {"owner_type": "task", "owner_id": "t", "period": "total", "limit_usd": 9}
    await policies.set_tenant("acme", {"budgets": [budget]})
    other = world.another_book()
    remembered = await other.open(Caller("acme", key.id, frozenset()), None, {"task": "t"})
    held = await call(world, remembered.takes, USD)

    async def refused_by(amount: int = 0) -> str:
        with pytest.raises(BudgetRefused) as refused:
            await call(world, remembered.takes, amount)
        return refused.value.budget_id

    async def limited(**limits: int) -> None:
        await policies.set_tenant("acme", {"limits": limits, "budgets": [budget]})

    await limited(concurrent=1)
    assert await refused_by() == "slots:acme"
    await limited(usd_per_day=1)
    assert (await refused_by(1)).startswith("day:acme:")
    await limited(requests_per_hour=1)
    assert (await refused_by()).startswith("rate:acme:")
    await limited()
    await policies.set_key("acme", key.id, {"limits": {"requests_per_hour": 1}})
    assert (await refused_by()).startswith(f"rate:{key.id}:")
    await policies.set_key("acme", key.id, {"limits": {"requests_per_hour": 100}})
    budget["limit_usd"] = 0
    await limited()
    assert await world.spend.capture(held.id, USD)
    assert await refused_by(1) == "owner:acme:task:t:total"


@pytest.mark.database
async def test_limits_set_while_calls_run_are_never_passed(world: World, policies: Policies) -> None:
    """Whatever the order, what is spent and held stays within the limit that stands, and none of it is lost."""
    await policies.frame_tenant("acme", {"limits": {"concurrent": 1000}})
    account = await world.book.open(ACME)
    other = Spend(world.database, world.clock, "other")
    await other.start()

    async def spend(by: Spend) -> int:
        try:
            hold = await by.reserve(tenant_id="acme", budgets=account.takes, amount_usd_nanos=USD)
        except BudgetRefused:
            return 0
        return (await by.capture(hold.id, USD)).captured_usd_nanos

    async def narrow(usd: int) -> int:
        await policies.set_tenant("acme", {"limits": {"usd_per_day": usd}} if usd < 9 else {})
        return 0

    spent = sum(
        await asyncio.gather(*(narrow(n) if n % 5 == 0 else spend((world.spend, other)[n % 2]) for n in range(30)))
    )
    await other.close()
    day = await world.spend.budget((await world.book.days("acme"))[0])
    assert day is not None and (day.spent_usd_nanos, day.held_usd_nanos) == (spent, 0)
    await policies.set_tenant("acme", {"limits": {"usd_per_day": 0}})
    day = await world.spend.budget(day.id)
    assert day is not None and day.limit_usd_nanos == spent


async def test_what_a_tenant_said_stays_within_a_frame_that_shrinks(world: World, policies: Policies) -> None:
    """The operator's word counts at once, whatever the tenant had set before."""
    await policies.frame_tenant("acme", {"limits": {"usd_per_day": 5000}})
    await policies.set_tenant("acme", {"limits": {"usd_per_day": 4000}})
    assert (await policies.frame_tenant("acme", {})).limits.usd_nanos_per_day == 1000 * USD
    assert (await policies.of_tenant("acme")).limits.usd_nanos_per_day == 1000 * USD
