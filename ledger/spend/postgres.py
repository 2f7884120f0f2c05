"""The spend path on PostgreSQL: one connection of its own, each batch one call of a function in the database."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from ledger.database import Database
from ledger.errors import DatabaseUnavailable
from ledger.spend.decide import named_budgets, named_events, named_holds
from ledger.spend.operations import (
    Capture,
    Captured,
    Differs,
    Done,
    Ended,
    Expire,
    Held,
    Hold,
    MarkSent,
    NotDue,
    Operation,
    Outcome,
    Paid,
    Record,
    Refused,
    Release,
    Renew,
    Reserve,
    UnknownBudget,
    UnknownHold,
    VaultRow,
)

_TEXT = Path(__file__).with_name("postgres.sql").read_text()
# Named by its text: processes of two versions over one database each call their own.
_FUNCTION = f"ledger_spend_{hashlib.sha256(_TEXT.encode()).hexdigest()[:12]}"
_CREATE_LOCK = 0x73706E64  # any fixed number: who starts at the same time creates it one after the other

_NOTHING_DONE = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.SerializationError,
)
_CONNECTION_LOST = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # it lost count of a connection that was closed under it
    asyncpg.PostgresConnectionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)


class PostgresLedger:
    """`wait_s` bounds how long a batch is tried while locks or the connection are missing."""

    def __init__(self, database: Database, wait_s: float = 5.0) -> None:
        self._dsn = database.dsn
        self._wait_s = wait_s
        self._connection: asyncpg.Connection[Any] | None = None

    async def open(self) -> None:
        await self.apply([])

    async def apply(self, batch: Sequence[Operation]) -> list[Outcome]:
        """A lost connection leaves it unknown whether the batch was committed: it is asked again, and by the ids
        that its operations brought along those that were done answer as before."""
        arguments = (
            orjson.dumps([_encoded(op) for op in batch]).decode(),
            sorted(named_holds(batch)),
            sorted(named_budgets(batch, ())),
            sorted(named_events(batch, ())),
        )
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._wait_s
        attempt = 0
        while True:
            attempt += 1
            try:
                if self._connection is None:
                    self._connection = await self._connect()
                answers = await self._connection.fetchval(f"SELECT {_FUNCTION}($1, $2, $3, $4)", *arguments)
                return [_decoded(op, answer) for op, answer in zip(batch, orjson.loads(answers), strict=True)]
            except asyncpg.UniqueViolationError as error:
                # Another process wrote the same id since we looked; once more, and it is seen.
                if attempt > 1:
                    raise
                failure: Exception = error
            except _NOTHING_DONE as error:
                failure = error
            except _CONNECTION_LOST as error:
                failure = error
                self._drop()
            pause_s = min(0.02 * 2**attempt, 0.5) * random.uniform(0.5, 1)
            if loop.time() + pause_s > give_up_at:
                raise DatabaseUnavailable("PostgreSQL does not take the spend now; try again") from failure
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=self._wait_s)
            self._connection = None

    async def _connect(self) -> asyncpg.Connection[Any]:
        limit_ms = int(self._wait_s * 1_000)
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=self._wait_s,
                command_timeout=self._wait_s,
                # Set here and not by SET, which a reset would undo.
                server_settings={
                    "application_name": "agentnode-spend",
                    "lock_timeout": str(limit_ms // 2),
                    "statement_timeout": str(limit_ms),
                    "jit": "off",
                    # A plan that is made while a table is empty scans it, and is kept while the table grows.
                    "enable_seqscan": "off",
                },
            )
        except asyncpg.PostgresError as error:  # it is there, and lets nobody in
            raise ConnectionError(str(error)) from error
        if await connection.fetchval("SELECT to_regproc($1)", _FUNCTION) is None:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_CREATE_LOCK})")
                await connection.execute(_TEXT.replace("{name}", _FUNCTION))
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _encoded(op: Operation) -> dict[str, Any]:
    match op:
        case Reserve(hold, least):
            return {
                "verb": "reserve",
                "hold_id": hold.id,
                "tenant_id": hold.tenant_id,
                "budgets": hold.budgets,
                "hows": hold.hows,
                "amount": hold.amount_usd_nanos,
                "least": least,
                "owner": hold.owner,
                "lease_until_us": hold.lease_until_us,
                "ends_by": hold.ends_by,
                "sent_at_us": hold.sent_at_us,
                "floor_usd_nanos": hold.floor_usd_nanos,
                "event": hold.floor_event,
                "request_key": hold.request_key,
                "at_us": hold.created_at_us,
            }
        case Capture(hold_id, amount, fence, to, event, at_us, kept, most):
            fields = {"amount": amount, "fence": fence, "to_account": to, "event": event, "at_us": at_us, "most": most}
            return {"verb": "capture", "hold_id": hold_id, "kept": _vault_item(kept)} | fields
        case Release(hold_id, fence, event, at_us):
            return {"verb": "release", "hold_id": hold_id, "fence": fence, "event": event, "at_us": at_us}
        case MarkSent(hold_id, fence, floor, event, at_us):
            fields = {"amount": floor, "fence": fence, "event": event, "at_us": at_us}
            return {"verb": "sent", "hold_id": hold_id} | fields
        case Renew(hold_id, fence, lease_until_us):
            return {"verb": "renew", "hold_id": hold_id, "fence": fence, "lease_until_us": lease_until_us}
        case Expire(hold_id, at_us):
            return {"verb": "expire", "hold_id": hold_id, "at_us": at_us}
        case Record(event, counts):
            return {"verb": "record", "event": event, "budgets": counts}


def _vault_item(kept: VaultRow | None) -> dict[str, Any] | None:
    return None if kept is None else kept | {"sealed": "\\x" + kept["sealed"].hex()}


def _decoded(op: Operation, answer: dict[str, Any]) -> Outcome:
    match answer["verdict"]:
        case "held" if "hold" in answer:
            named = answer["hold"]
            return Held(
                Hold(**named | {name: tuple(named[name]) for name in ("budgets", "hows", "parts")}), fresh=False
            )
        case "held":
            assert isinstance(op, Reserve)
            granted = replace(op.hold, amount_usd_nanos=answer["amount"], parts=tuple(answer["parts"]))
            return Held(granted, fresh=True)
        case "refused":
            return Refused(answer["id"], answer["room"])
        case "unknown_budget":
            return UnknownBudget(answer["id"])
        case "unknown_hold":
            return UnknownHold(answer["id"])
        case "differs":
            return Differs(answer["field"])
        case "captured":
            shares = tuple(Paid(*paid) for paid in answer["shares"])
            return Captured(answer["captured"], answer["overrun"], answer["event_id"], shares)
        case "ended":
            return Ended(answer["state"])
        case "not_due":
            return NotDue()
    assert answer["verdict"] == "done"
    return Done()
