"""Mixed batches, refused and repeated and late, end on both databases as a plain sequential model says."""

from __future__ import annotations

import uuid
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from ledger.database import Database
from ledger.events import EconomicEvent, EventDraft
from ledger.movements import Movement
from ledger.spend import NewBudget
from ledger.spend.budgets import open_budget
from ledger.spend.operations import (
    Capture,
    Expire,
    Hold,
    Ledger,
    MarkSent,
    Operation,
    Record,
    Release,
    Renew,
    Reserve,
)
from ledger.spend.postgres import PostgresLedger
from ledger.spend.sqlite import SqliteLedger
from ledger.spend.tables import BudgetRow, HoldRow
from tests.ledger.spend_oracle import Oracle
from tests.rounds import rounds

_BUDGETS = ("a", "b", "c-credits")
_AMOUNTS = st.integers(0, 9)
_HOLDS = st.integers(0, 3)
_FENCES = st.sampled_from([None, None, None, 1, 1, 2])
_EVENTS = st.sampled_from([None, 0, 1, 2, 3, 4, 5])
_C = "c-credits"
_SETS = st.sampled_from(
    [
        *((("a", "whole"),), (("a", "whole"), ("b", "whole")), (("b", "whole"), ("a", "whole")), ()),
        *((("a", "whole"), ("b", "whole"), (_C, "whole")), (("a", "whole"), ("none", "whole"))),
        *(((_C, "share"),), ((_C, "share"), ("b", "share")), (("a", "whole"), (_C, "share"), ("b", "share"))),
        *((("a", "count"), ("b", "whole")), (("a", "slot"), (_C, "share")), (("a", "count"), ("b", "slot"))),
        *((("b", "slot"), ("a", "whole"), (_C, "share")), (("a", "count"), ("b", "share"), (_C, "share"))),
    ]
)
_LEAST = st.sampled_from([None, None, 0, 1, 3])
_COUNTS = st.sampled_from([(), (), ("a",), ("a", "b"), ("none",)])

_reserve = st.tuples(
    st.just("reserve"), _HOLDS, _AMOUNTS, _SETS, st.integers(0, 3), st.sampled_from(["lease", "lease", "chain"]),
    st.sampled_from(["", "", "", "-other"]), _LEAST, st.sampled_from([None, None, 0, 1]),
)  # fmt: skip
_capture = st.tuples(st.just("capture"), _HOLDS, _AMOUNTS, _FENCES, _EVENTS, st.none() | _AMOUNTS)
_release = st.tuples(st.just("release"), _HOLDS, _FENCES, _EVENTS)
_sent = st.tuples(st.just("sent"), _HOLDS, _AMOUNTS, _FENCES, _EVENTS)
_renew = st.tuples(st.just("renew"), _HOLDS, _FENCES, st.integers(0, 6))
_expire = st.tuples(st.just("expire"), _HOLDS)
_record = st.tuples(st.just("record"), st.integers(0, 5), _COUNTS)
_operations = st.one_of(_reserve, _reserve, _reserve, _capture, _release, _sent, _sent, _renew, _expire, _record)
_batches = st.lists(st.lists(_operations, min_size=4, max_size=14), min_size=3, max_size=4)


@pytest.mark.database
@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.tuples(*(st.integers(0, 20) for _ in _BUDGETS)), batches=_batches)
async def test_a_batch_ends_as_if_its_operations_had_come_one_by_one(
    database: Database, limits: tuple[int, ...], batches: list[list[tuple[Any, ...]]]
) -> None:
    """Outcomes, budgets, holds, events and movements are those of the oracle, at the limit and beyond it."""
    world = uuid.uuid4().hex
    names = {f"{world}-{name}": limit for name, limit in zip(_BUDGETS, limits, strict=True)}
    for name, limit in names.items():
        await open_budget(database, NewBudget(name, world, name.rpartition("-")[2], limit), 0)
    oracle = Oracle(names)
    ledger: Ledger = SqliteLedger(database) if database.is_sqlite else PostgresLedger(database)
    await ledger.open()
    try:
        for index, batch in enumerate(batches):
            operations = [_operation(world, index, spec) for spec in batch]
            assert await ledger.apply(operations) == [oracle.apply(op) for op in operations]
        await _same_rows(database, world, oracle)
    finally:
        await ledger.close()


def _operation(world: str, at_us: int, spec: tuple[Any, ...]) -> Operation:
    """`at_us` is the number of the batch, so that leases of 0 to 4 run out between batches."""
    match spec:
        case ("reserve", hold, amount, takes, lease, ends_by, other, least, sent):
            names = tuple(f"{world}-{name}" for name, _ in takes)
            hows = tuple(how for _, how in takes)
            asked = Hold(f"{world}-{hold}", world + other, names, hows, amount, "owner", at_us + lease, ends_by, at_us)
            if sent is not None:
                asked = replace(asked, sent_at_us=at_us, floor_usd_nanos=amount, floor_event=_event(world, sent))
            return Reserve(asked, amount if least is None else min(least, amount))
        case ("capture", hold, amount, fence, event, *most):
            return Capture(f"{world}-{hold}", amount, fence, "upstream", _event(world, event), at_us, None, *most)
        case ("release", hold, fence, event):
            return Release(f"{world}-{hold}", fence, _event(world, event), at_us)
        case ("sent", hold, floor, fence, event):
            return MarkSent(f"{world}-{hold}", fence, floor, _event(world, event), at_us)
        case ("renew", hold, fence, until):
            return Renew(f"{world}-{hold}", fence, until)
        case ("expire", hold):
            return Expire(f"{world}-{hold}", at_us)
        case ("record", event, counts):
            row = _event(world, event)
            assert row is not None
            names = tuple(f"{world}-{name}" for name in counts)
            return Record(row, names)
    raise AssertionError(spec)


def _event(world: str, index: int | None) -> dict[str, Any] | None:
    if index is None:
        return None
    draft = EventDraft(
        id=f"{world}-e{index}", tenant_id=world, kind="engine_call", input_tokens=index, trace={"é": [1.5, None]}
    )
    return draft.as_row() | {"at_us": 77}


async def _same_rows(database: Database, world: str, oracle: Oracle) -> None:
    tenants = [world, f"{world}-other"]
    async with database.read() as session:
        budgets = (await session.exec(select(BudgetRow).where(BudgetRow.tenant_id == world))).all()
        holds = (await session.exec(select(HoldRow).where(col(HoldRow.tenant_id).in_(tenants)))).all()
        events = (await session.exec(select(EconomicEvent).where(EconomicEvent.tenant_id == world))).all()
        moved = (await session.exec(select(Movement).where(col(Movement.tenant_id).in_(tenants)))).all()
    got = {row.id: {"limit": row.limit_usd_nanos, "spent": row.spent_usd_nanos, "held": row.held_usd_nanos}
           for row in budgets}  # fmt: skip
    assert got == oracle.budgets
    assert {row.id: _as_held(row) for row in holds} == oracle.holds
    assert {row.id: row.model_dump() for row in events} == oracle.events
    assert {row.id: row.model_dump() for row in moved} == oracle.movements


def _as_held(row: HoldRow) -> dict[str, Any]:
    return row.model_dump() | {"budgets": tuple(row.budgets), "hows": tuple(row.hows), "parts": tuple(row.parts)}


def test_the_oracle_knows_every_field_of_a_hold() -> None:
    """A field that is added to holds must be compared too."""
    assert set(HoldRow.model_fields) == set(asdict(Hold("h", "t", (), (), 0, "o", 0, "lease", 0)))
