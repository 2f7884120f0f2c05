"""What is to be sent to others: written with what it tells of, tried until it arrives, and seen where it never does.

Letters of one stream go one after the other. Each may arrive more than once (a worker that dies after sending cannot
know), always under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col, insert, select

from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import NotFound
from ledger.ids import new_id
from ledger.work.tables import OutboxRow

_MINUTE_US = 60 * SECOND_US
_LEASE_US = 60 * SECOND_US

_DUE = """
SELECT id, tenant_id, host FROM outbox AS mine WHERE kind = :kind AND state = 'waiting' AND next_at_us <= :now_us
AND NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.stream = mine.stream AND earlier.seq < mine.seq AND earlier.state = 'waiting'
)
ORDER BY next_at_us, id LIMIT :most
"""
_TAKE = """
UPDATE outbox SET attempts = attempts + 1, next_at_us = :until_us
WHERE id = :id AND state = 'waiting' AND next_at_us <= :now_us
RETURNING id, tenant_id, stream, seq, ref, host, attempts, created_at_us
"""
_PUT_OFF = "UPDATE outbox SET next_at_us = :at_us WHERE id = :id AND state = 'waiting' AND next_at_us <= :now_us"
# One row a key: a new window starts it again. Nothing comes back where the window is used up.
_QUOTA = """
INSERT INTO quotas (key, minute, used) VALUES (:key, :minute, 1)
ON CONFLICT (key) DO UPDATE
SET used = CASE WHEN quotas.minute = excluded.minute THEN quotas.used + 1 ELSE 1 END,
    minute = excluded.minute
WHERE quotas.minute <> excluded.minute OR quotas.used < :most
RETURNING used
"""
_END = """
UPDATE outbox SET state = :state, ended_at_us = :now_us, problem = :problem
WHERE id = :id AND state = 'waiting' AND attempts = :attempts
"""
_AGAIN = """
UPDATE outbox SET next_at_us = :at_us, problem = :problem WHERE id = :id AND state = 'waiting' AND attempts = :attempts
"""
_REVIVE = """
UPDATE outbox SET state = 'waiting', ended_at_us = NULL, attempts = 0, next_at_us = :now_us
WHERE id = :id AND state = 'dead' RETURNING id
"""
_FORGET = (
    "DELETE FROM quotas WHERE minute < :before_us / 60000000",
    "DELETE FROM outbox WHERE ended_at_us < :before_us",
)
_DROP = "DELETE FROM outbox WHERE stream = :stream AND state = 'waiting'"


class LetterMissing(NotFound):
    """There is no dead delivery of that id, or it is another tenant's."""

    code = "DELIVERY_NOT_FOUND"


@dataclass(frozen=True)
class Rates:
    """How many letters leave in a minute: for one tenant, and to one host across tenants."""

    tenant: int = 600
    host: int = 120


@dataclass(frozen=True)
class Letter:
    """To be sent: what it is about, and where to. `stream` and `seq` give its place in order."""

    tenant_id: str
    stream: str
    seq: int
    ref: str
    host: str


@dataclass(frozen=True)
class Delivery:
    """One attempt at a letter. `id` is the same for each attempt."""

    id: str
    tenant_id: str
    stream: str
    seq: int
    ref: str
    host: str
    attempts: int
    created_at_us: int


class Outbox:
    """The letters of one kind."""

    def __init__(self, database: Database, clock: Clock, kind: str, rates: Rates) -> None:
        self._database = database
        self._clock = clock
        self._kind = kind
        self._rates = rates

    async def put(self, session: AsyncSession, letters: Sequence[Letter]) -> None:
        """In the transaction of what they tell of."""
        now_us = self._clock.now_us()
        fixed = {"kind": self._kind, "state": "waiting", "attempts": 0, "next_at_us": now_us, "created_at_us": now_us}
        if letters:
            rows = [{"id": new_id("dlv"), **vars(letter), **fixed} for letter in letters]
            await (await session.connection()).execute(insert(OutboxRow), rows)

    async def take(self, most: int = 16) -> list[Delivery]:
        """What is due now, each for this process alone for a minute; what exceeds a rate waits for its next minute."""
        now_us = self._clock.now_us()
        due = {"kind": self._kind, "now_us": now_us, "most": most}
        async with self._database.read() as session:
            rows = (await (await session.connection()).execute(text(_DUE), due)).all()
        # Ordered, so that two processes lock quotas in one order.
        ordered = sorted(rows, key=lambda row: (row.tenant_id, row.host))
        taken = [await self._take_one(row, now_us) for row in ordered]
        return [each for each in taken if each is not None]

    async def _take_one(self, row: Any, now_us: int) -> Delivery | None:
        values = {"id": row.id, "now_us": now_us, "until_us": now_us + _LEASE_US}
        try:
            async with self._database.write() as session:
                connection = await session.connection()
                taken = (await connection.execute(text(_TAKE), values)).first()
                if taken is None:  # another process was faster
                    return None
                await _count(connection, f"{self._kind}:tenant:{row.tenant_id}", self._rates.tenant, now_us)
                await _count(connection, f"{self._kind}:host:{row.host}", self._rates.host, now_us)
                return Delivery(**taken._mapping)
        except _RateReached:
            next_us = (now_us // _MINUTE_US + 1) * _MINUTE_US
            await self._run(_PUT_OFF, id=row.id, at_us=next_us, now_us=now_us)
            return None

    async def delivered(self, delivery: Delivery) -> None:
        await self._end(delivery, "delivered", None)

    async def dead(self, delivery: Delivery, problem: str) -> None:
        """It is not tried again, unless asked for; what waits behind it goes on."""
        await self._end(delivery, "dead", problem)

    async def again(self, delivery: Delivery, problem: str, after_s: float) -> None:
        at_us = self._clock.now_us() + int(after_s * SECOND_US)
        await self._run(_AGAIN, id=delivery.id, attempts=delivery.attempts, problem=problem, at_us=at_us)

    async def drop(self, session: AsyncSession, stream: str) -> None:
        """Nobody wants the stream any more: what waits in it is forgotten."""
        await (await session.connection()).execute(text(_DROP), {"stream": stream})

    async def page(
        self, tenant_ids: Sequence[str], state: str, limit: int = 100, before: str | None = None
    ) -> list[OutboxRow]:
        """Letters of the tenants in that state, the newest first."""
        mine = (col(OutboxRow.tenant_id).in_(tenant_ids), OutboxRow.state == state, OutboxRow.kind == self._kind)
        found = select(OutboxRow).where(*mine).order_by(col(OutboxRow.created_at_us).desc(), col(OutboxRow.id).desc())
        async with self._database.read() as session:
            if before is not None and (last := await session.get(OutboxRow, before)) is not None:
                older = OutboxRow.created_at_us < last.created_at_us
                same = (OutboxRow.created_at_us == last.created_at_us) & (OutboxRow.id < last.id)
                found = found.where(older | same)
            return list((await session.exec(found.limit(limit))).all())

    async def revive(self, tenant_ids: Sequence[str], letter_id: str) -> None:
        """Try a dead letter again, from the start. Raises LetterMissing."""
        async with self._database.write() as session:
            row = await session.get(OutboxRow, letter_id)
            if row is None or row.tenant_id not in tenant_ids or row.kind != self._kind or row.state != "dead":
                raise LetterMissing("there is no dead delivery of that id")
            values = {"id": letter_id, "now_us": self._clock.now_us()}
            await (await session.connection()).execute(text(_REVIVE), values)

    async def forget(self, after_s: int = 7 * 24 * 3600) -> None:
        """Delete what ended long ago."""
        before_us = self._clock.now_us() - after_s * SECOND_US
        for statement in _FORGET:
            await self._run(statement, before_us=before_us)

    async def _end(self, delivery: Delivery, state: str, problem: str | None) -> None:
        values = {"id": delivery.id, "attempts": delivery.attempts, "now_us": self._clock.now_us()}
        await self._run(_END, **values, state=state, problem=problem)

    async def _run(self, statement: str, **values: Any) -> None:
        async with self._database.write() as session:
            await (await session.connection()).execute(text(statement), values)


class _RateReached(Exception):
    """Nothing more may leave for this key in this minute."""


async def _count(connection: AsyncConnection, key: str, most: int, now_us: int) -> None:
    values = {"key": key, "minute": now_us // _MINUTE_US, "most": most}
    if (await connection.execute(text(_QUOTA), values)).first() is None:
        raise _RateReached
