"""The rules of budgets and holds, as tables of before, action and after."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from ledger.database import Database
from ledger.errors import BudgetRefused, Conflict, HoldEnded, IdempotencyConflict, InvalidInput, NotFound
from ledger.events import EventDraft, Events
from ledger.money import MAX_USD_NANOS
from ledger.movements import Movement
from ledger.spend import Budget, Hold, NewBudget, Spend, Sweeper
from tests.ledger.parts import SetClock

pytestmark = pytest.mark.database


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def spend(database: Database, clock: SetClock) -> AsyncIterator[Spend]:
    opened = Spend(database, clock, "test")
    await opened.start()
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("limits", "hold", "capture", "captured", "overrun", "spent"),
    [
        ((100, 100), 40, 25, 25, 0, 25),
        ((100, 100), 40, 40, 40, 0, 40),
        ((100, 100), 40, 0, 0, 0, 0),
        ((100, 100), 40, 100, 100, 0, 100),
        ((100, 100), 40, 101, 40, 61, 40),
        ((100, 60), 40, 61, 40, 21, 40),
        ((100, 60), 40, 60, 60, 0, 60),
    ],
)
async def test_a_capture_takes_the_actual_amount_and_never_passes_a_limit(
    spend: Spend, limits: tuple[int, int], hold: int, capture: int, captured: int, overrun: int, spent: int
) -> None:
    """What exceeds the hold is taken if every budget has room; else what was held, and the node bears the rest."""
    for name, limit in zip(("a", "b"), limits, strict=True):
        await spend.open_budget(NewBudget(name, "t", "test", limit))
    held = await _held(spend, hold, "a", "b")
    outcome = await spend.capture(held.id, capture)
    assert (outcome.captured_usd_nanos, outcome.overrun_usd_nanos) == (captured, overrun)
    assert await _balances(spend, "a", "b") == [(spent, 0), (spent, 0)]


async def test_a_capture_books_the_event_and_one_movement(spend: Spend, database: Database) -> None:
    """The event says what was charged and what the node bore; the movement goes from the tenant to the upstream."""
    await spend.open_budget(NewBudget("a", "t", "test", 50))
    held = await _held(spend, 50, "a")
    event = EventDraft(
        kind="engine_call", tenant_id="t", upstream_cost_usd_nanos=70, cost_usd_nanos=1, trace={"route": ["x", 1.5]}
    )
    assert (await spend.capture(held.id, 70, event=event)).event_id == event.id
    booked = await Events(database).get(event.id)
    costs = booked.cost_usd_nanos, booked.upstream_cost_usd_nanos, booked.overrun_usd_nanos
    assert (costs, booked.trace) == ((50, 70, 20), {"route": ["x", 1.5]})
    async with database.read() as session:
        (moved,) = (await session.exec(select(Movement))).all()
    assert (moved.kind, moved.from_account, moved.to_account, moved.usd_nanos, moved.hold_id, moved.event_id) == (
        "capture", "tenant:t", "upstream", 50, held.id, event.id,
    )  # fmt: skip


async def test_a_reserve_takes_from_all_budgets_or_from_none(spend: Spend) -> None:
    """The refusal names the budget, what was asked, and the room that it has."""
    await spend.open_budget(NewBudget("wide", "t", "test", 100))
    await spend.open_budget(NewBudget("narrow", "t", "test", 30))
    await _held(spend, 20, "wide", "narrow")
    with pytest.raises(BudgetRefused) as refused:
        await _held(spend, 11, "wide", "narrow")
    error = refused.value
    assert (error.budget_id, error.asked_usd_nanos, error.room_usd_nanos) == ("narrow", 11, 10)
    with pytest.raises(NotFound):
        await _held(spend, 1, "wide", "nowhere")
    assert await _balances(spend, "wide", "narrow") == [(0, 20), (0, 20)]


async def test_the_same_hold_asked_again_is_answered_as_before(spend: Spend) -> None:
    """The same id with another amount, other budgets or another tenant is a conflict that names the field."""
    for name in ("a", "b"):
        await spend.open_budget(NewBudget(name, "t", "test", 100))
    first = await spend.reserve(tenant_id="t", budgets=["a", "b"], amount_usd_nanos=60, hold_id="use_1")
    assert await spend.reserve(tenant_id="t", budgets=["a", "b"], amount_usd_nanos=60, hold_id="use_1") == first
    for tenant, budgets, amount, field in [
        ("t", ["a", "b"], 61, "amount"),
        ("t", ["a"], 60, "budgets"),
        ("u", ["a", "b"], 60, "tenant"),
    ]:
        with pytest.raises(IdempotencyConflict, match=field):
            await spend.reserve(tenant_id=tenant, budgets=budgets, amount_usd_nanos=amount, hold_id="use_1")
    assert await _balances(spend, "a", "b") == [(0, 60), (0, 60)]


async def test_a_hold_ends_once(spend: Spend) -> None:
    """The same end again is answered as before; any other end says that it ended."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    captured, released = await _held(spend, 30, "a"), await _held(spend, 30, "a")
    event = EventDraft(kind="engine_call", tenant_id="t")
    outcome = await spend.capture(captured.id, 20, fence=captured.fence, event=event)
    await spend.release(released.id)
    assert await spend.capture(captured.id, 20) == outcome
    await spend.release(released.id, fence=released.fence)
    for late in (
        lambda: spend.capture(captured.id, 21),
        lambda: spend.release(captured.id),
        lambda: spend.capture(released.id, 20),
        lambda: spend.mark_sent(released),
        lambda: spend.renew(captured),
    ):
        with pytest.raises(HoldEnded):
            await late()
    with pytest.raises(NotFound):
        await spend.capture("hold_unknown", 1)
    assert await _balances(spend, "a") == [(20, 0)]


async def test_an_event_is_recorded_once(spend: Spend) -> None:
    """A second hold may not end with the event of the first; a record that comes twice counts once."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    event = EventDraft(kind="paid_task", tenant_id="t", revenue_usd_nanos=5)
    for _ in range(2):
        await spend.record(event, counts=["a"])
    held = await _held(spend, 30, "a")
    with pytest.raises(IdempotencyConflict):
        await spend.capture(held.id, 20, event=event)
    assert await _balances(spend, "a") == [(1, 30)]


@pytest.mark.parametrize(
    ("sent", "ends_by", "floor", "state", "balance"),
    [
        (False, "lease", 0, "released", (0, 0)),
        (False, "chain", 0, "released", (0, 0)),
        (True, "lease", 12, "captured", (12, 0)),
        (True, "lease", 99, "captured", (40, 0)),
        (True, "chain", 0, "held", (0, 40)),
    ],
)
async def test_the_sweeper_ends_what_its_owner_left(
    spend: Spend, database: Database, clock: SetClock, sent: bool, ends_by: str, floor: int, state: str,
    balance: tuple[int, int],
) -> None:  # fmt: skip
    """Never sent: released. Sent: captured at the floor, as an estimate. Sent and the chain's to end: left alone."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    hold = await spend.reserve(
        tenant_id="t", budgets=["a"], amount_usd_nanos=40, ends_by="chain" if ends_by == "chain" else "lease"
    )
    event = EventDraft(kind="engine_call", tenant_id="t", evidence_status="present")
    if sent:
        await spend.mark_sent(hold, floor_usd_nanos=floor, event=event)
    sweeper = Sweeper(database, spend, clock)
    clock.pass_s(119)
    assert await sweeper.sweep() == 0
    clock.pass_s(1)
    assert await sweeper.sweep() == (state != "held")
    assert [each.state for each in await spend.holds()] == [state]
    assert await _balances(spend, "a") == [balance]
    if state == "captured":
        estimate = await Events(database).get(event.id)
        assert (estimate.estimated, estimate.evidence_status, estimate.cost_usd_nanos) == (True, "missing", balance[0])
        with pytest.raises(HoldEnded):
            await spend.capture(hold.id, balance[0])
        with pytest.raises(HoldEnded):
            await spend.capture(hold.id, balance[0], fence=hold.fence)


async def test_an_event_that_was_recorded_already_does_not_stop_the_sweeper(
    spend: Spend, database: Database, clock: SetClock
) -> None:
    """The hold is captured at its floor all the same, the event stays as it was booked."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    event = EventDraft(kind="engine_call", tenant_id="t")
    await spend.mark_sent(await _held(spend, 40, "a"), floor_usd_nanos=12, event=event)
    await spend.record(event)
    clock.pass_s(120)
    assert await Sweeper(database, spend, clock).sweep() == 1
    assert await _balances(spend, "a") == [(12, 0)]
    assert not (await Events(database).get(event.id)).estimated


async def test_a_renewed_lease_is_not_swept(spend: Spend, database: Database, clock: SetClock) -> None:
    """The owner's word counts from when it was given."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    hold = await _held(spend, 40, "a")
    clock.pass_s(100)
    await spend.renew(hold)
    clock.pass_s(119)
    assert await Sweeper(database, spend, clock).sweep() == 0
    clock.pass_s(1)
    assert await Sweeper(database, spend, clock).sweep() == 1


async def test_holds_are_found_by_state_and_budget(spend: Spend) -> None:
    """Oldest first, with every field that they were made with."""
    for name in ("a", "b"):
        await spend.open_budget(NewBudget(name, "t", "test", 100))
    of_a, of_both = await _held(spend, 1, "a"), await _held(spend, 2, "b", "a")
    await spend.release((await _held(spend, 3, "b")).id)
    assert await spend.holds(state="held", budget_id="b") == [of_both]
    assert {hold.id for hold in await spend.holds(budget_id="a")} == {of_a.id, of_both.id}
    assert len(await spend.holds(state="released")) == 1


async def test_a_budget_opened_again_stays_as_it_is(spend: Spend) -> None:
    """Its limit too; and an id belongs to one tenant."""
    opened = await spend.open_budget(NewBudget("a", "t", "test", 100))
    assert opened == Budget("a", "t", "test", "", 100, 0, 0, 1)
    assert await spend.open_budget(NewBudget("a", "t", "test", 500)) == opened
    with pytest.raises(IdempotencyConflict):
        await spend.open_budget(NewBudget("a", "u", "test", 100))
    assert await spend.budget("b") is None


async def test_a_limit_is_never_set_below_what_is_spent_or_held(spend: Spend) -> None:
    """The room follows the new limit."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    await spend.capture((await _held(spend, 30, "a")).id, 30)
    await _held(spend, 30, "a")
    with pytest.raises(Conflict):
        await spend.set_limit("a", 59)
    assert (await spend.set_limit("a", 60)).room_usd_nanos == 0
    with pytest.raises(NotFound):
        await spend.set_limit("b", 60)


@pytest.mark.parametrize("column", ["spent_usd_nanos", "held_usd_nanos"])
async def test_the_database_itself_refuses_to_overspend(spend: Spend, database: Database, column: str) -> None:
    """A direct UPDATE past the limit, or below zero, fails."""
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    await _held(spend, 60, "a")
    for value in ("101", "-1"):
        with pytest.raises(IntegrityError):
            await _execute(database, f"UPDATE budgets SET {column} = {value} WHERE id = 'a'")
    assert await _balances(spend, "a") == [(0, 60)]


@pytest.mark.parametrize("amount", [-1, True, 1.0, "1", MAX_USD_NANOS + 1, None])
async def test_an_amount_that_is_no_amount_reaches_no_batch(spend: Spend, amount: int) -> None:
    """Negative, boolean, float, text and too large ones are refused by name."""
    with pytest.raises(InvalidInput, match="amount_usd_nanos"):
        await spend.reserve(tenant_id="t", budgets=[], amount_usd_nanos=amount)
    with pytest.raises(InvalidInput, match="amount_usd_nanos"):
        await spend.capture("hold_1", amount)


@pytest.mark.parametrize("bad", ["", "nul\0", "lone \ud800", "x" * 501])
async def test_a_text_that_a_database_cannot_store_reaches_no_batch(spend: Spend, bad: str) -> None:
    """NUL and lone surrogates would fail the whole batch of others."""
    with pytest.raises(InvalidInput, match="budgets"):
        await spend.reserve(tenant_id="t", budgets=[bad], amount_usd_nanos=1)
    with pytest.raises(InvalidInput, match="hold_id"):
        await spend.release(bad)
    if bad and len(bad) <= 500:
        for trace in ({"deep": [{"k": bad}]}, {bad: 1}):
            with pytest.raises(InvalidInput, match=r"event\.trace"):
                await spend.record(EventDraft(kind="refund", tenant_id="t", trace=trace))


async def test_an_event_that_cannot_be_stored_reaches_no_batch(spend: Spend) -> None:
    """Integers beyond 64 bits, money out of range and values that JSON has not are refused by name."""
    for draft, field in [
        (EventDraft(kind="refund", tenant_id="t", input_tokens=2**63), "input_tokens"),
        (EventDraft(kind="refund", tenant_id="t", revenue_usd_nanos=-1), "revenue_usd_nanos"),
        (EventDraft(kind="refund", tenant_id="t", trace={"when": object()}), "event"),
        (EventDraft(kind="gift", tenant_id="t"), "event.kind"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InvalidInput, match=field):
            await spend.record(draft)


async def _held(spend: Spend, amount: int, *budgets: str) -> Hold:
    return await spend.reserve(tenant_id="t", budgets=budgets, amount_usd_nanos=amount)


async def _balances(spend: Spend, *budget_ids: str) -> list[tuple[int, int]]:
    found = [await spend.budget(budget_id) for budget_id in budget_ids]
    return [(budget.spent_usd_nanos, budget.held_usd_nanos) for budget in found if budget is not None]


async def _execute(database: Database, statement: str) -> None:
    async with database.write() as session:
        await (await session.connection()).execute(text(statement))
