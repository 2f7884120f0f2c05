"""What goes wrong around a batch: poison, cancelled callers, lost connections, stopped writers, a closed ledger."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator

import asyncpg
import pytest

from agentnode.migrations import LOCATIONS
from ledger.database import Database
from ledger.errors import DatabaseUnavailable, LedgerStopped
from ledger.events import EventDraft
from ledger.spend import NewBudget, Spend
from ledger.spend.budgets import open_budget, read_budget
from ledger.spend.operations import Capture, Captured, Held, Hold, Ledger, Operation, Outcome, Record, Reserve
from ledger.spend.postgres import PostgresLedger
from ledger.spend.sqlite import SqliteLedger
from ledger.together import Together
from tests.databases import create_postgres_database
from tests.ledger.parts import SetClock

_KILL = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE application_name = 'agentnode-spend' AND datname = current_database()"
)


@pytest.fixture
async def spend(database: Database) -> AsyncIterator[Spend]:
    opened = Spend(database, SetClock(), "test")
    await opened.start()
    await opened.open_budget(NewBudget("a", "t", "test", 1000))
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    opened: Ledger = SqliteLedger(database) if database.is_sqlite else PostgresLedger(database)
    await opened.open()
    await open_budget(database, NewBudget("a", "t", "test", 1000), 0)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(postgres_url)
    await opened.upgrade(LOCATIONS)
    await open_budget(opened, NewBudget("a", "t", "test", 1000), 0)
    yield opened
    await opened.close()


@pytest.fixture
def postgres_url(postgres_uri: str) -> str:
    return create_postgres_database(postgres_uri)


@pytest.mark.database
async def test_one_poisoned_operation_fails_alone(ledger: Ledger, database: Database) -> None:
    """An operation that no database can store is rolled back with its batch; replayed, its neighbours succeed."""
    batches: Together[Operation, Outcome] = Together(ledger.apply, 128)
    poison = Record(EventDraft(kind="refund", tenant_id="t").as_row() | {"at_us": 0, "kind": "poison"})
    good = [_reserve(f"good_{index}", 1) for index in range(6)]
    futures = [batches.ask(op) for op in [*good[:3], poison, *good[3:]]]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(outcomes[3], Exception)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Exception)] == [
        Held(op.hold, fresh=True) for op in good
    ]
    await batches.close()
    budget = await read_budget(database, "a")
    assert budget is not None and budget.held_usd_nanos == 6


@pytest.mark.database
async def test_a_batch_whose_answer_was_lost_is_asked_again_and_spends_once(ledger: Ledger, database: Database) -> None:
    """Whether it was committed or not: holds, captures, events and movements are found by their ids."""
    await ledger.apply([_reserve("h1", 100)])
    event = EventDraft(kind="engine_call", tenant_id="t").as_row() | {"at_us": 0}
    batch: list[Operation] = [
        _reserve("h2", 50),
        Capture("h1", 70, 1, "upstream", event, 0),
        Record(EventDraft(kind="paid_task", tenant_id="t").as_row() | {"at_us": 0}),
    ]
    first = await ledger.apply(batch)
    again = await ledger.apply(batch)
    assert again[0] == Held(batch[0].hold, fresh=False)  # type: ignore[union-attr]
    assert again[1:] == first[1:]
    budget = await read_budget(database, "a")
    assert budget is not None and (budget.spent_usd_nanos, budget.held_usd_nanos) == (70, 50)


@pytest.mark.database
async def test_a_cancelled_caller_leaves_no_hold_and_stops_nobody(spend: Spend) -> None:
    """Its hold is released, and the writer goes on for the others; a capture that was asked for is done."""
    held = await _reserved(spend, 300)
    cancelled = [asyncio.create_task(_reserved(spend, 100)) for _ in range(3)]
    capture = asyncio.create_task(spend.capture(held.id, 200))
    await asyncio.sleep(0)
    for task in (*cancelled, capture):
        task.cancel()
    await _reserved(spend, 50)
    await _releases_are_written(spend)
    budget = await spend.budget("a")
    assert budget is not None and (budget.spent_usd_nanos, budget.held_usd_nanos) == (200, 50)


async def test_a_caller_cancelled_between_the_commit_and_its_answer_leaves_no_hold(spend: Spend) -> None:
    """Whenever the cancellation comes, after any number of turns of the loop."""
    for turns in range(60):
        task = asyncio.create_task(_reserved(spend, 10))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await spend.release(task.result().id)
    await _releases_are_written(spend)
    budget = await spend.budget("a")
    assert budget is not None and budget.held_usd_nanos == 0


async def test_closing_writes_what_was_asked_and_takes_nothing_more(database: Database) -> None:
    """Who comes later is sent away."""
    spend = Spend(database, SetClock(), "test")
    await spend.open_budget(NewBudget("a", "t", "test", 100))
    with pytest.raises(LedgerStopped):
        await _reserved(spend, 1)
    await spend.start()
    waiting = [asyncio.create_task(_reserved(spend, 10)) for _ in range(5)]
    await asyncio.sleep(0)
    await spend.close()
    assert [task.result().amount_usd_nanos for task in waiting] == [10] * 5
    with pytest.raises(LedgerStopped):
        await _reserved(spend, 1)


async def test_an_answer_that_nobody_waits_for_does_not_stop_the_writer(ledger: Ledger) -> None:
    """A future that was cancelled takes no result; the next batches are written all the same."""
    batches: Together[Operation, Outcome] = Together(ledger.apply, 128)
    futures = [batches.ask(_reserve(f"h{index}", 1)) for index in range(3)]
    futures[1].cancel()
    assert isinstance(await futures[2], Held)
    assert isinstance(await batches.ask(_reserve("h3", 1)), Held)
    await batches.close()


async def test_a_writer_that_dies_leaves_no_caller_waiting() -> None:
    """Should the group's writer itself be ended, its callers are told, and so is who comes after."""

    async def dies(_: list[Operation]) -> list[Outcome]:
        raise asyncio.CancelledError

    batches = Together(dies, 128)
    futures = [batches.ask(_reserve("h", 1)) for _ in range(3)]
    for outcome in await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10):
        assert isinstance(outcome, LedgerStopped)
    with pytest.raises(LedgerStopped):
        batches.ask(_reserve("h", 1))


async def test_behind_a_stopped_sqlite_writer_callers_are_told_to_come_back(database: Database) -> None:
    """503 with retryAfterMs after a bound; what was refused is not done when the lock comes free."""
    ledger = SqliteLedger(database, wait_s=0.3)
    await ledger.open()
    await open_budget(database, NewBudget("a", "t", "test", 1000), 0)
    with database.gate_path.open() as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for number in range(2):
            with pytest.raises(DatabaseUnavailable) as told:
                await ledger.apply([_reserve(f"h{number}", 100)])
            assert told.value.retry_after_ms and told.value.status == 503
    assert await ledger.apply([_reserve("h3", 10)]) == [Held(_reserve("h3", 10).hold, fresh=True)]
    budget = await read_budget(database, "a")
    assert budget is not None and budget.held_usd_nanos == 10
    await ledger.close()


async def test_a_foreign_sqlite_writer_makes_callers_wait_and_then_tells_them(database: Database) -> None:
    """SQLITE_BUSY itself reaches no caller."""
    import sqlite3

    ledger = SqliteLedger(database, wait_s=0.3)
    await ledger.open()
    foreign = sqlite3.connect(database.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        await ledger.apply([_reserve("h1", 0)])
    foreign.execute("ROLLBACK")
    foreign.close()
    assert isinstance((await ledger.apply([_reserve("h2", 0, budgets=())]))[0], Held)
    await ledger.close()


async def test_a_lost_postgres_connection_is_made_again_and_the_batch_asked_again(
    postgres: Database, postgres_url: str
) -> None:
    """Killed in mid-batch or while idle: every caller gets its answer, and the sums are right."""
    spend = Spend(postgres, SetClock(), "test")
    await spend.start()
    killer = await asyncpg.connect(postgres_url)
    for round_ in range(10):
        clients = [asyncio.create_task(_cycle(spend)) for _ in range(20)]
        for _ in range(round_ * 3):
            await asyncio.sleep(0)
        await killer.execute(_KILL)
        await asyncio.gather(*clients)
    for _ in range(5):
        await killer.execute(_KILL)
        await _cycle(spend)
    await killer.close()
    budget = await spend.budget("a")
    assert budget is not None and (budget.spent_usd_nanos, budget.held_usd_nanos) == (205, 0)
    await spend.close()


async def test_behind_a_foreign_postgres_lock_callers_wait_and_then_are_told(
    postgres: Database, postgres_url: str
) -> None:
    """503 after a bound, nothing done; and the ledger goes on when the lock is gone."""
    ledger = PostgresLedger(postgres, wait_s=0.6)
    await ledger.open()
    foreign = await asyncpg.connect(postgres_url)
    async with foreign.transaction():
        await foreign.execute("SELECT 1 FROM budgets WHERE id = 'a' FOR UPDATE")
        with pytest.raises(DatabaseUnavailable):
            await ledger.apply([_reserve("h1", 100)])
        assert isinstance((await ledger.apply([_reserve("elsewhere", 1, budgets=())]))[0], Held)
    assert isinstance((await ledger.apply([_reserve("h2", 10)]))[0], Held)
    assert await foreign.fetchval("SELECT held_usd_nanos FROM budgets WHERE id = 'a'") == 10
    await foreign.close()
    await ledger.close()


async def test_two_processes_that_make_the_same_hold_make_it_once(postgres: Database) -> None:
    """On two connections at the same time, with the same budgets or with others."""
    ledgers = [PostgresLedger(postgres) for _ in range(4)]
    await open_budget(postgres, NewBudget("b", "t", "test", 1000), 0)
    for index in range(30):
        asked = [_reserve(f"same_{index}", 1, budgets=(("a",), ("b",))[number % 2]) for number in range(4)]
        outcomes = await asyncio.gather(*(each.apply([op]) for each, op in zip(ledgers, asked, strict=True)))
        assert sum(outcome == [Held(op.hold, fresh=True)] for outcome, op in zip(outcomes, asked, strict=True)) == 1
    held = [await read_budget(postgres, name) for name in ("a", "b")]
    assert sum(budget.held_usd_nanos for budget in held if budget is not None) == 30
    for ledger in ledgers:
        await ledger.close()


async def _releases_are_written(spend: Spend) -> None:
    """An abandoned hold is in the batch of the first of these at the latest, its release in the next one."""
    for _ in range(3):
        await _reserved(spend, 0)


async def _cycle(spend: Spend) -> Captured:
    hold = await _reserved(spend, 2)
    event = EventDraft(kind="engine_call", tenant_id="t")
    return await spend.capture(hold.id, 1, event=event)


async def _reserved(spend: Spend, amount: int) -> Hold:
    return await spend.reserve(tenant_id="t", budgets=["a"], amount_usd_nanos=amount)


def _reserve(hold_id: str, amount: int, budgets: tuple[str, ...] = ("a",)) -> Reserve:
    """Of a hold as it will stand."""
    hows, parts = ("whole",) * len(budgets), (amount,) * len(budgets)
    return Reserve(Hold(hold_id, "t", budgets, hows, amount, "test", 1_000, "lease", 0, parts=parts), amount)
