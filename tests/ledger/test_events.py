"""Events are read as they were booked: one by one, by task, and page by page."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from ledger.database import Database
from ledger.errors import InvalidInput, NotFound
from ledger.events import EconomicEvent, EventDraft, Events
from ledger.spend import Spend
from tests.ledger.parts import START_US, SetClock

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


def test_a_draft_has_every_field_of_an_event_but_its_time() -> None:
    """A column that no draft can fill, or a field that no column keeps, is a mistake."""
    assert {field.name for field in dataclasses.fields(EventDraft)} | {"at_us"} == set(EconomicEvent.model_fields)


async def test_an_event_comes_back_as_it_was_drafted(spend: Spend, database: Database) -> None:
    """Every field, with the time of the ledger's clock."""
    draft = EventDraft(
        kind="engine_call", tenant_id="t", request_id="req_1", task_id="task_1", provider="offline", model="extract",
        price_version="v1", input_tokens=1, cached_input_tokens=2, cache_write_tokens=3, output_tokens=4,
        reasoning_tokens=5, cost_usd_nanos=6, upstream_cost_usd_nanos=7, overrun_usd_nanos=8, revenue_usd_nanos=9,
        latency_ms=10, mandate_id="mnd_1", mandate_use_id="use_1", receipt_id="rcpt_1", payment_id="pay_1",
        decision="allowed", deny_code="NONE", evidence_status="present", estimated=True, corrects="evt_0",
        attribution={"owner": "é", "tags": [1, 2.5, None, True]}, trace={"route": {"why": "cheapest"}},
        privacy_mode="metadata_only",
    )  # fmt: skip
    await spend.record(draft)
    assert (await Events(database).get(draft.id)).model_dump() == dataclasses.asdict(draft) | {"at_us": START_US}


async def test_foreign_and_missing_events_look_the_same(spend: Spend, database: Database) -> None:
    """Both are not found."""
    event_id = await spend.record(EventDraft(kind="refund", tenant_id="t"))
    events = Events(database)
    assert (await events.get(event_id, "t")).id == event_id
    for asked in ((event_id, "u"), ("evt_none", "t")):
        with pytest.raises(NotFound):
            await events.get(*asked)


async def test_pages_give_each_event_once_and_newest_first(spend: Spend, database: Database, clock: SetClock) -> None:
    """Also where many happened in the same microsecond, and while new ones arrive."""
    booked = []
    for index in range(25):
        booked.append(await spend.record(EventDraft(kind="refund", tenant_id="t", request_id=f"r{index}")))
        if index % 10 == 9:
            clock.pass_s(1)
    await spend.record(EventDraft(kind="refund", tenant_id="u"))
    events = Events(database)
    seen: list[str] = []
    cursor = None
    while True:
        page = await events.list("t", limit=7, cursor=cursor)
        seen += [event.id for event in page.events]
        cursor = page.next_cursor
        if cursor is None:
            break
        clock.pass_s(1)
        await spend.record(EventDraft(kind="refund", tenant_id="t"))
    assert sorted(seen) == sorted(booked)
    times = [(await events.get(event_id)).at_us for event_id in seen]
    assert times == sorted(times, reverse=True)


async def test_events_are_found_by_field_task_and_time(spend: Spend, database: Database, clock: SetClock) -> None:
    """A field that an event does not have, and a cursor that no page gave, are refused by name."""
    first = await spend.record(EventDraft(kind="engine_call", tenant_id="t", task_id="task_1", provider="a"))
    clock.pass_s(1)
    second = await spend.record(EventDraft(kind="paid_task", tenant_id="t", task_id="task_1", provider="b"))
    events = Events(database)
    assert [event.id for event in await events.of_task("task_1")] == [first, second]
    assert [event.id for event in (await events.list("t", provider="b")).events] == [second]
    assert [event.id for event in (await events.list("t", kind="engine_call")).events] == [first]
    assert [event.id for event in (await events.list("t", since_us=START_US + 1)).events] == [second]
    assert [event.id for event in (await events.list("t", until_us=START_US + 1)).events] == [first]
    with pytest.raises(InvalidInput, match="colour"):
        await events.list("t", colour="red")
    for cursor in ("x", "1", "-1:a", "9999999999999999999:a"):
        with pytest.raises(InvalidInput, match="cursor"):
            await events.list("t", cursor=cursor)
