"""How a hold takes: caps, shares of money in order, slots while it lasts, counts for good; and at least so much."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlmodel import col, select

from ledger.database import Database
from ledger.errors import BudgetRefused
from ledger.events import EventDraft, Events
from ledger.movements import Movement
from ledger.spend import NewBudget, Paid, Spend, Sweeper, count, share, slot, whole
from tests.ledger.parts import SetClock

pytestmark = pytest.mark.database

CALL = (count("rate"), whole("day"), slot("slots"), share("credits"), share("funds"))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def spend(database: Database, clock: SetClock) -> AsyncIterator[Spend]:
    opened = Spend(database, clock, "test")
    await opened.start()
    for name, limit in {"rate": 3, "day": 100, "slots": 1, "credits": 5, "funds": 50}.items():
        await opened.open_budget(NewBudget(name, "t", name, limit))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("amount", "charged", "of_credits", "of_funds"),
    [(3, 3, 3, 0), (20, 12, 5, 7), (20, 4, 4, 0), (20, 30, 5, 25), (3, 9, 5, 4), (20, 0, 0, 0)],
)
async def test_one_call_split_over_credits_and_funds_is_one_hold(
    spend: Spend, database: Database, amount: int, charged: int, of_credits: int, of_funds: int
) -> None:
    """Credits pay first, what they lack comes from the next source; caps count all of it, one movement a source."""
    hold = await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=amount)
    assert hold.parts == (0, amount, 1, min(amount, 5), max(0, amount - 5))
    assert await _balances(spend, "rate", "slots") == [(1, 0), (0, 1)]
    event = EventDraft(id="evt", tenant_id="t", kind="engine_call")
    captured = await spend.capture(hold.id, charged, event=event)
    assert captured.shares == (Paid("credits", of_credits, 5 - of_credits), Paid("funds", of_funds, 50 - of_funds))
    assert await _balances(spend, *(take.budget_id for take in CALL)) == [
        (1, 0), (charged, 0), (0, 0), (of_credits, 0), (of_funds, 0),
    ]  # fmt: skip
    row = await Events(database).get("evt")
    assert (row.cost_usd_nanos, row.credits_usd_nanos) == (charged, of_credits)
    moved = {"credits": of_credits, "funds": of_funds}
    assert await _movements(database) == {name: nanos for name, nanos in moved.items() if nanos}


async def test_what_no_share_has_room_for_the_node_bears(spend: Spend) -> None:
    """The excess over the hold is taken from all or not at all: a share never pays what it does not have."""
    hold = await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=40)
    captured = await spend.capture(hold.id, 56)
    assert (captured.captured_usd_nanos, captured.overrun_usd_nanos) == (40, 16)
    assert await _balances(spend, "day", "credits", "funds") == [(40, 0), (5, 0), (35, 0)]


async def test_what_a_call_may_not_come_to_the_node_bears_though_there_is_room(spend: Spend) -> None:
    """Whoever pays: up to its limit the excess is taken, and beyond it none of it."""
    for most, charged in ((25, 25), (24, 20), (3, 20)):
        hold = await spend.reserve(tenant_id="t", budgets=["day"], amount_usd_nanos=20)
        captured = await spend.capture(hold.id, 25, most_usd_nanos=most)
        assert (captured.captured_usd_nanos, captured.overrun_usd_nanos) == (charged, 25 - charged)


async def test_a_slot_is_free_again_when_its_hold_has_ended_also_by_the_sweeper(
    spend: Spend, database: Database, clock: SetClock
) -> None:
    """Concurrency is held as money is: who crashes gives it back when the lease runs out. The request stays counted."""
    await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=1, lease_s=10)
    with pytest.raises(BudgetRefused) as refused:
        await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=1)
    assert (refused.value.budget_id, refused.value.room_usd_nanos) == ("slots", 0)
    clock.pass_s(11)
    assert await Sweeper(database, spend, clock).sweep() == 1
    assert await _balances(spend, "rate", "slots") == [(1, 0), (0, 0)]


async def test_the_first_budget_in_order_that_has_no_room_is_the_one_named(spend: Spend) -> None:
    """The order in which budgets are given is the order in which they refuse, and a refusal counts nowhere."""
    with pytest.raises(BudgetRefused) as refused:
        await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=101)
    assert refused.value.budget_id == "day"
    with pytest.raises(BudgetRefused) as refused:
        await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=56)
    assert (refused.value.budget_id, refused.value.room_usd_nanos) == ("funds", 55)
    assert await _balances(spend, "rate", "day", "slots") == [(0, 0)] * 3


@pytest.mark.parametrize(("amount", "least", "granted"), [(40, 1, 40), (70, 1, 55), (500, 55, 55), (500, 0, 55)])
async def test_a_hold_that_may_be_smaller_takes_what_there_is(
    spend: Spend, amount: int, least: int, granted: int
) -> None:
    """At least what was said, at most what was asked, else all that caps and money have room for together."""
    hold = await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=amount, least_usd_nanos=least)
    assert hold.amount_usd_nanos == granted
    assert hold.parts == (0, granted, 1, 5, granted - 5)


async def test_a_hold_that_would_be_too_small_is_refused(spend: Spend) -> None:
    with pytest.raises(BudgetRefused) as refused:
        await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=500, least_usd_nanos=56)
    assert (refused.value.budget_id, refused.value.asked_usd_nanos) == ("funds", 56)


async def test_a_hold_can_be_sent_in_the_breath_that_makes_it(
    spend: Spend, database: Database, clock: SetClock
) -> None:
    """Held and journaled in one transaction: should its owner die, the floor is captured with its event."""
    sent = EventDraft(id="evt", tenant_id="t", kind="engine_call")
    await spend.reserve(tenant_id="t", budgets=CALL, amount_usd_nanos=20, lease_s=1, sent=sent, floor_usd_nanos=7)
    clock.pass_s(2)
    assert await Sweeper(database, spend, clock).sweep() == 1
    row = await Events(database).get("evt")
    assert (row.cost_usd_nanos, row.credits_usd_nanos, row.estimated) == (7, 5, True)
    assert await _balances(spend, "credits", "funds") == [(5, 0), (2, 0)]


async def test_an_event_that_counts_is_refused_with_its_count(spend: Spend, database: Database) -> None:
    """A cached answer costs nothing and still counts: without room for the count there is no event."""
    for number in range(3):
        await spend.record(EventDraft(id=f"evt_{number}", tenant_id="t", kind="cache_hit"), counts=["rate"])
    with pytest.raises(BudgetRefused) as refused:
        await spend.record(EventDraft(id="evt_3", tenant_id="t", kind="cache_hit"), counts=["rate"])
    assert refused.value.budget_id == "rate"
    assert len((await Events(database).list("t")).events) == 3


async def test_an_equal_request_is_found_again(spend: Spend, clock: SetClock) -> None:
    """The latest of the tenant's with that key, and none of another tenant's or from before."""
    for amount in (1, 2):
        last = await spend.reserve(tenant_id="t", budgets=["day"], amount_usd_nanos=amount, request_key="k")
        clock.pass_s(5)
    found = await spend.twin("t", "k", clock.now_us() - 60_000_000)
    assert found is not None and found.id == last.id
    assert await spend.twin("other", "k", 0) is None
    assert await spend.twin("t", "k", clock.now_us()) is None


async def _balances(spend: Spend, *names: str) -> list[tuple[int, int]]:
    budgets = [await spend.budget(name) for name in names]
    return [(budget.spent_usd_nanos, budget.held_usd_nanos) for budget in budgets if budget]


async def _movements(database: Database) -> dict[str, int]:
    async with database.read() as session:
        rows = (await session.exec(select(Movement).order_by(col(Movement.id)))).all()
    return {row.from_account: row.usd_nanos for row in rows}
