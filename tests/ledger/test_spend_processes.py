"""Processes that spend from one budget at the same time, are killed, and are stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
from sqlmodel import func, select

from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import BudgetRefused
from ledger.events import EconomicEvent, Events
from ledger.movements import Movement
from ledger.spend import NewBudget, Spend, Sweeper
from tests.ledger.parts import SetClock
from tests.ledger.workers import Worker, workers

pytestmark = pytest.mark.database

_PROCESSES = 8
_RESERVATIONS = _PROCESSES * 1250


@pytest.fixture
async def spend(database: Database) -> AsyncIterator[Spend]:
    opened = Spend(database, SystemClock(), "test")
    await opened.start()
    yield opened
    await opened.close()


async def test_equal_reservations_of_eight_processes_succeed_exactly_as_often_as_the_limit_allows(
    database_url: str, spend: Spend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 8 x 1,250 reservations of 7 nanos, floor(limit / 7) succeed."""
    limit = 7 * 6_000 + 5
    await spend.open_budget(NewBudget("hot", "t", "test", limit))
    with workers(database_url, "equal", _PROCESSES) as started:
        told = await _run(started, capsys, "equal")
    assert sum(each["held"] for each in told) == limit // 7
    refused = [refusal for each in told for refusal in each["refused"]]
    assert len(refused) == _RESERVATIONS - limit // 7
    assert all(asked > room for asked, room in refused)
    hot = await spend.budget("hot")
    assert hot is not None and (hot.held_usd_nanos, hot.spent_usd_nanos) == (limit // 7 * 7, 0)
    await _exactly_the_room_is_left(spend)


async def test_mixed_reservations_of_eight_processes_add_up_to_the_nano(
    database_url: str, database: Database, spend: Spend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half are released, half captured: spent is the sum of the captures, nothing stays held."""
    await spend.open_budget(NewBudget("hot", "t", "test", 800_000_000_000))
    with workers(database_url, "mixed", _PROCESSES) as started:
        told = await _run(started, capsys, "mixed")
    refused = [refusal for each in told for refusal in each["refused"]]
    assert refused, "the limit was never reached, so that nothing was shown"
    assert all(asked > room for asked, room in refused)
    assert sum(each["held"] for each in told) + len(refused) == _RESERVATIONS
    captured = sum(each["captured"] for each in told)
    hot = await spend.budget("hot")
    assert hot is not None and (hot.spent_usd_nanos, hot.held_usd_nanos) == (captured, 0)
    async with database.read() as session:
        moved = (await session.exec(select(Movement.usd_nanos))).all()
        charged = (await session.exec(select(EconomicEvent.cost_usd_nanos))).all()
    assert sum(moved) == sum(charged) == captured
    await _exactly_the_room_is_left(spend)


async def test_what_killed_processes_held_comes_back(database_url: str, database: Database, spend: Spend) -> None:
    """After kill -9 in mid-flight and a sweep, spent is what was captured, held is zero, the rest is room."""
    for name in ("hot", "other"):
        await spend.open_budget(NewBudget(name, "t", "test", 10**9))
    for _ in range(3):
        with workers(database_url, "for_ever", 4) as started:
            for worker in started:
                worker.go()
            await _until_events(database, more=200)
            for worker in started:
                worker.process.kill()
    clock = SetClock(SystemClock().now_us() + 121_000_000)
    late = Spend(database, clock, "sweeper")
    await late.start()
    swept = await Sweeper(database, late, clock).sweep()
    assert swept > 0
    assert await Sweeper(database, late, clock).sweep() == 0
    await late.close()
    holds = await spend.holds(budget_id="hot")
    assert not await spend.holds(state="held")
    captured = sum(hold.captured_usd_nanos for hold in holds)
    for name in ("hot", "other"):
        budget = await spend.budget(name)
        assert budget is not None and (budget.spent_usd_nanos, budget.held_usd_nanos) == (captured, 0)
    async with database.read() as session:
        assert sum((await session.exec(select(EconomicEvent.cost_usd_nanos))).all()) == captured
        events = (await session.exec(select(func.count()).select_from(EconomicEvent))).one()
    assert events == sum(hold.state == "captured" for hold in holds)
    assert sum(hold.ended_by == "sweeper" for hold in holds) == swept


async def test_a_capture_after_the_sweep_is_a_correction_and_no_second_spend(
    database_url: str, database: Database, spend: Spend
) -> None:
    """An owner stopped past its lease finds its hold ended at the floor, as an estimate without evidence."""
    await spend.open_budget(NewBudget("hot", "t", "test", 1_000))
    with workers(database_url, "stands_still", 1) as (worker,):
        worker.go()
        await asyncio.to_thread(worker.process.until_stopped)
        clock = SetClock(SystemClock().now_us() + 121_000_000)
        late = Spend(database, clock, "sweeper")
        await late.start()
        assert await Sweeper(database, late, clock).sweep() == 1
        await late.close()
        worker.process.send_signal(signal.SIGCONT)
        told = await asyncio.to_thread(worker.told)
    hot = await spend.budget("hot")
    assert hot is not None and (hot.spent_usd_nanos, hot.held_usd_nanos) == (30, 0)
    estimate = await Events(database).get(told["event"])
    assert (estimate.cost_usd_nanos, estimate.estimated, estimate.evidence_status) == (30, True, "missing")
    correction = await Events(database).get(told["correction"])
    assert (correction.corrects, correction.upstream_cost_usd_nanos) == (estimate.id, 60)


@pytest.mark.database("postgres")
async def test_a_stopped_process_blocks_nobody(database_url: str, database: Database, spend: Spend) -> None:
    """On PostgreSQL, wherever a worker is stopped, the others go on spending from the same budget."""
    for name in ("hot", "other"):
        await spend.open_budget(NewBudget(name, "t", "test", 10**12))
    with workers(database_url, "for_ever", 1) as (worker,):
        worker.go()
        for _ in range(20):
            await _until_events(database, more=30)
            worker.process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(worker.process.until_stopped)
            for _ in range(10):
                hold = await spend.reserve(tenant_id="t", budgets=["hot", "other"], amount_usd_nanos=5)
                await spend.capture(hold.id, 5)
            worker.process.send_signal(signal.SIGCONT)


async def _run(started: list[Worker], capsys: pytest.CaptureFixture[str], name: str) -> list[dict[str, object]]:
    begun = time.perf_counter()
    for worker in started:
        worker.go()
    told = await asyncio.gather(*(asyncio.to_thread(worker.told) for worker in started))
    took = time.perf_counter() - begun
    with capsys.disabled():
        print(f"\n{name}: {_RESERVATIONS} reservations by {_PROCESSES} processes, {_RESERVATIONS / took:,.0f} a second")
    return list(told)


async def _exactly_the_room_is_left(spend: Spend) -> None:
    hot = await spend.budget("hot")
    assert hot is not None
    room = hot.room_usd_nanos
    with pytest.raises(BudgetRefused) as refused:
        await spend.reserve(tenant_id="t", budgets=["hot"], amount_usd_nanos=room + 1)
    assert refused.value.room_usd_nanos == room
    await spend.reserve(tenant_id="t", budgets=["hot"], amount_usd_nanos=room)


async def _until_events(database: Database, more: int) -> None:
    """Waits until that many more events are recorded."""
    asked = select(func.count()).select_from(EconomicEvent)
    wanted = None
    while True:
        async with database.read() as session:
            count = (await session.exec(asked)).one()
        wanted = count + more if wanted is None else wanted
        if count >= wanted:
            return
        await asyncio.sleep(0.01)
