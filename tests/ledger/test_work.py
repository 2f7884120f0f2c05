"""What must happen once: requests that are remembered, and claims that fence off late workers."""

from __future__ import annotations

import asyncio

import pytest

from ledger.database import Database
from ledger.errors import Conflict, IdempotencyConflict, RequestInProgress
from ledger.vault import Vault
from ledger.work import Claim, ClaimLost, Claims, Idempotency, Replay
from tests.ledger.parts import MemoryKey, SetClock

pytestmark = pytest.mark.database


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def requests(database: Database, clock: SetClock) -> Idempotency:
    return Idempotency(database, clock, Vault(database, clock, MemoryKey()))


async def test_of_twenty_equal_requests_at_once_one_runs(requests: Idempotency) -> None:
    """One is told to go on; the others are told that it is at work."""
    results = await asyncio.gather(
        *(requests.begin("node POST /x", "k", "hash") for _ in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, RequestInProgress) for result in results) == 19


async def test_a_finished_request_is_answered_with_the_same_status_and_body(
    requests: Idempotency, clock: SetClock
) -> None:
    """For 24 hours the reply comes back as it was; after that its key still stops a second run."""
    assert await requests.begin("s", "k", "hash") is None
    await requests.finish("s", "k", tenant_id="node", status=201, content=b'{"id":1}')

    assert await requests.begin("s", "k", "hash") == Replay(None, 201, b'{"id":1}')
    clock.pass_s(24 * 3600)
    assert await requests.begin("s", "k", "hash") == Replay(None, 201, None)


async def test_another_body_under_the_same_key_is_refused(requests: Idempotency, clock: SetClock) -> None:
    """At work, finished, or long ago: the key belongs to the body that it came with first."""
    assert await requests.begin("s", "k", "hash") is None
    with pytest.raises(IdempotencyConflict):
        await requests.begin("s", "k", "other")
    await requests.finish("s", "k", tenant_id="node", status=200, content=b"")
    clock.pass_s(90 * 24 * 3600)
    with pytest.raises(IdempotencyConflict):
        await requests.begin("s", "k", "other")
    assert await requests.begin("t", "k", "other") is None


async def test_after_a_crash_the_next_try_runs_once_the_lease_has_run_out(
    requests: Idempotency, clock: SetClock
) -> None:
    """A marker left by a process that died holds nobody up for longer than its lease."""
    assert await requests.begin("s", "k", "hash", lease_s=60) is None
    clock.pass_s(59)
    with pytest.raises(RequestInProgress):
        await requests.begin("s", "k", "hash")
    clock.pass_s(1)
    assert await requests.begin("s", "k", "hash") is None


async def test_a_request_that_has_made_something_is_never_run_again(
    requests: Idempotency, database: Database, clock: SetClock
) -> None:
    """Once it is bound to what it made, not even a crash before the reply makes a second one."""
    assert await requests.begin("s", "k", "hash") is None
    async with database.write() as session:
        await requests.bind(session, "s", "k", "task_1")
    clock.pass_s(3600)

    assert await requests.begin("s", "k", "hash") == Replay("task_1", None, None)
    await requests.abandon("s", "k")
    assert await requests.begin("s", "k", "hash") == Replay("task_1", None, None)
    with pytest.raises(Conflict):
        async with database.write() as session:
            await requests.bind(session, "s", "k", "task_2")


async def test_of_two_runs_the_first_to_finish_is_the_answer(requests: Idempotency, clock: SetClock) -> None:
    """A run that outlived its lease does not change an answer that was given."""
    assert await requests.begin("s", "k", "hash") is None
    clock.pass_s(61)
    assert await requests.begin("s", "k", "hash") is None
    await requests.finish("s", "k", tenant_id="node", status=200, content=b"second run")
    await requests.finish("s", "k", tenant_id="node", status=200, content=b"first run, late")
    assert await requests.begin("s", "k", "hash") == Replay(None, 200, b"second run")


async def test_a_request_that_did_nothing_is_forgotten(requests: Idempotency) -> None:
    """After `abandon` the same key may even bring another body."""
    assert await requests.begin("s", "k", "hash") is None
    await requests.abandon("s", "k")
    assert await requests.begin("s", "k", "other") is None


async def test_of_many_workers_one_gets_the_claim(database: Database, clock: SetClock) -> None:
    """Sixteen workers ask at once: one has it, until it lets go."""
    workers = [Claims(database, clock, f"worker-{n}") for n in range(16)]
    claims = await asyncio.gather(*(worker.claim("task", "t1") for worker in workers))
    (held,) = [claim for claim in claims if claim is not None]
    assert await workers[0].claim("task", "t1") is None
    assert await workers[0].claim("task", "t2") is not None

    await workers[0].release(held)

    after = await workers[0].claim("task", "t1")
    assert after is not None and after.fence == held.fence + 1


async def test_a_worker_that_comes_back_late_writes_nothing(database: Database, clock: SetClock) -> None:
    """After its lease ran out and another took the work, it can neither renew, nor write, nor release."""
    slow, quick = Claims(database, clock, "slow"), Claims(database, clock, "quick")
    stale = await _claimed(slow, lease_s=60)
    clock.pass_s(60)
    fresh = await _claimed(quick, lease_s=60)

    with pytest.raises(ClaimLost):
        await slow.renew(stale)
    with pytest.raises(ClaimLost):
        async with database.write() as session:
            await slow.guard(session, stale)
    await slow.release(stale)
    assert await slow.claim("task", "t1") is None
    async with database.write() as session:
        await quick.guard(session, fresh)


async def test_a_renewed_lease_lasts_from_the_renewal(database: Database, clock: SetClock) -> None:
    """An owner that renews in time keeps the work; one that let the lease run out does not get it back."""
    claims = Claims(database, clock, "a")
    claim = await _claimed(claims, lease_s=60)
    clock.pass_s(50)
    claim = await claims.renew(claim, 60)
    clock.pass_s(50)
    assert await claims.claim("task", "t1") is None
    clock.pass_s(10)
    with pytest.raises(ClaimLost):
        await claims.renew(claim)


async def _claimed(claims: Claims, lease_s: float) -> Claim:
    claim = await claims.claim("task", "t1", lease_s)
    assert claim is not None
    return claim
