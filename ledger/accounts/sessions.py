"""Sessions: a cap on what an agent spends, with an end, that money can be put into."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select

from ledger.accounts.book import AccountBook
from ledger.accounts.documents import document_of, said_in
from ledger.accounts.leftovers import give_back, to_credits
from ledger.accounts.money import TEST, PaidIn, fund, pass_on, raise_limit
from ledger.accounts.periods import cap_budget, cap_id, funds_budget
from ledger.accounts.policy import Said
from ledger.accounts.scopes import Caller
from ledger.accounts.session import STATUSES, Session, session_of, sessions_at, status_at
from ledger.accounts.tables import SessionRow
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import InvalidInput, NotFound, NotOffered, SessionEnded, SessionExpired
from ledger.events import EconomicEvent
from ledger.ids import new_id
from ledger.movements import Movement
from ledger.spend import cap, fit

Bind = Callable[[AsyncSession, str], Awaitable[None]]
"""Says, in the transaction that makes it, what a request made (`Idempotency.bind`)."""

PAID_SOURCES = ("base_pay", "direct")
_MAX_HOURS = 24 * 366
_PAGE = 100


@dataclass(frozen=True)
class NewSession:
    """What is asked for. `policy`: what narrows the tenant's in this session: limits.usd_per_request, models, vendors,
    anomaly, privacy_mode."""

    budget_usd_nanos: int
    expires_in_s: int = 24 * 3600
    agent_identifier: str | None = None
    agent_id: str | None = None
    policy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Funding:
    id: str
    session_id: str
    amount_usd_nanos: int
    source: str


@dataclass(frozen=True)
class SessionUsage:
    """What a session's requests came to. Cached answers are requests too."""

    requests: int
    cache_hits: int
    input_tokens: int
    output_tokens: int


class Sessions:
    """`has_test_money`: the node's chain is 31337, so that sessions can be funded with test money."""

    def __init__(self, database: Database, clock: Clock, book: AccountBook, has_test_money: bool) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._has_test_money = has_test_money

    async def create(self, caller: Caller, asked: NewSession) -> Session:
        """Raises InvalidInput for a budget or a time that is none, and for a policy that a session cannot have."""
        if asked.budget_usd_nanos <= 0:
            raise InvalidInput("budget_usd", "must be more than 0")
        if not 0 < asked.expires_in_s <= _MAX_HOURS * 3600:
            raise InvalidInput("expires_in_hours", f"must be more than 0 and at most {_MAX_HOURS}")
        said, now_us = _narrowing(asked.policy), self._clock.now_us()
        row = SessionRow(
            id=new_id("sess"),
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            agent_identifier=asked.agent_identifier,
            agent_id=asked.agent_id,
            total_usd_nanos=asked.budget_usd_nanos,
            state="open",
            refused_at_us=None,
            policy=document_of(said),
            created_at_us=now_us,
            expires_at_us=now_us + asked.expires_in_s * SECOND_US,
            ended_at_us=None,
        )
        async with self._database.write() as session:
            session.add(row)
            await fit(session, (cap_budget(row.tenant_id, row.id, row.total_usd_nanos),), now_us)
        return await self.get(caller.tenant_id, row.id)

    async def get(self, tenant_id: str, session_id: str) -> Session:
        """Raises NotFound for a session of another tenant too."""
        async with self._database.read() as session:
            return await self._read(session, tenant_id, session_id)

    async def list(self, tenant_id: str, status: str | None = None) -> list[Session]:
        """The tenant's, newest first, at most 100. Raises InvalidInput for a status that there is not."""
        if status is not None and status not in STATUSES:
            raise InvalidInput("status", f"must be one of {', '.join(STATUSES)}")
        now_us = self._clock.now_us()
        asked = sessions_at(now_us).where(SessionRow.tenant_id == tenant_id)
        if status is not None:
            asked = asked.where(status_at(now_us) == status)
        newest = asked.order_by(col(SessionRow.created_at_us).desc(), col(SessionRow.id).desc()).limit(_PAGE)
        async with self._database.read() as session:
            return [session_of(*found) for found in (await session.exec(newest)).all()]

    async def end(self, tenant_id: str, session_id: str) -> Session:
        """Frees what is not held, and gives test money back; work in flight is still captured (what it frees
        later, `Leftovers` gives back). Again: as it is."""
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            row = await _locked(session, tenant_id, session_id)
            if row.state == "open":
                row.state, row.ended_at_us = "ended", now_us
                await to_credits(session, row, now_us)
                await cap(session, cap_id(session_id), 0)
                await give_back(session, row, now_us)
        self._book.forget(tenant_id)
        return await self.get(tenant_id, session_id)

    async def fund(
        self,
        tenant_id: str,
        session_id: str,
        amount_usd_nanos: int,
        source: str,
        bind: Bind | None = None,
        paid: PaidIn | None = None,
    ) -> Funding:
        """Puts money in, and raises the cap by as much: an exhausted session is active again.

        `paid` is where the money is, of the sources that are no test money; the same again changes nothing.

        Raises NotOffered for a source that this node does not take, SessionEnded, SessionExpired, NotFound,
        InvalidInput.
        """
        if paid is None:
            self._check_source(source)
        if amount_usd_nanos <= 0:
            raise InvalidInput("amount", "must be more than 0")
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            row = await _locked(session, tenant_id, session_id)
            if paid is not None and await session.get(Movement, paid.movement_id) is not None:
                return Funding(paid.movement_id, session_id, amount_usd_nanos, source)
            if row.state != "open":
                raise SessionEnded(f"{session_id} is {row.state}; make another session")
            if row.expires_at_us <= now_us:
                raise SessionExpired(f"{session_id} has expired; make another session")
            row.total_usd_nanos += amount_usd_nanos
            row.refused_at_us = None
            purse = funds_budget(tenant_id, session_id, test=paid is None)
            if paid is not None:
                movement = await pass_on(session, purse, amount_usd_nanos, paid, now_us)
                await raise_limit(session, cap_id(session_id), amount_usd_nanos)
            else:
                await raise_limit(session, cap_id(session_id), amount_usd_nanos)
                movement = await fund(session, purse, amount_usd_nanos, TEST, now_us)
            if bind is not None:
                await bind(session, movement)
        self._book.forget(tenant_id)
        return Funding(movement, session_id, amount_usd_nanos, source)

    async def funding(self, tenant_id: str, movement_id: str) -> Funding:
        """What was put in before. Raises NotFound."""
        async with self._database.read() as session:
            movement = await session.get(Movement, movement_id)
        if movement is None or movement.tenant_id != tenant_id:
            raise NotFound(f"there is no funding {movement_id}")
        _, _, session_id = movement.to_account.partition(":")
        return Funding(movement.id, session_id, movement.usd_nanos, movement.from_account)

    async def usage(self, tenant_id: str, session_id: str) -> SessionUsage:
        """Raises NotFound for a session of another tenant too."""
        asked = select(
            func.count(func.distinct(EconomicEvent.request_id)),
            func.count().filter(col(EconomicEvent.kind) == "cache_hit"),
            func.coalesce(func.sum(EconomicEvent.input_tokens + EconomicEvent.cached_input_tokens), 0),
            func.coalesce(func.sum(EconomicEvent.output_tokens), 0),
        ).where(
            EconomicEvent.session_id == session_id,
            EconomicEvent.tenant_id == tenant_id,
            col(EconomicEvent.kind).in_(("engine_call", "cache_hit")),
        )
        async with self._database.read() as session:
            await self._read(session, tenant_id, session_id)
            requests, hits, read, written = (await (await session.connection()).execute(asked)).one()
        return SessionUsage(int(requests), int(hits), int(read), int(written))

    async def note_refused(self, session_id: str) -> None:
        """A call was refused for lack of the session's room: it is exhausted until it is funded."""
        async with self._database.read() as session:
            row = await session.get(SessionRow, session_id)
        if row is None or row.refused_at_us is not None:
            return
        async with self._database.write() as session:
            row = await session.get(SessionRow, session_id, with_for_update=True)
            assert row is not None
            row.refused_at_us = self._clock.now_us()

    async def _read(self, session: AsyncSession, tenant_id: str, session_id: str) -> Session:
        asked = sessions_at(self._clock.now_us()).where(SessionRow.id == session_id, SessionRow.tenant_id == tenant_id)
        found = (await session.exec(asked)).one_or_none()
        if found is None:
            raise NotFound(f"there is no session {session_id}")
        return session_of(*found)

    def _check_source(self, source: str) -> None:
        if source in PAID_SOURCES:
            raise NotOffered("source", "is paid on chain, and this node has none")
        if source != "test":
            raise InvalidInput("source", "must be one of base_pay, direct, test")
        if not self._has_test_money:
            raise NotOffered("source", "is test money, which there is on chain 31337 only")


def _narrowing(document: Mapping[str, Any] | None) -> Said:
    said = said_in(document)
    for name in ("requests_per_hour", "usd_nanos_per_day", "concurrent"):
        if name in said.limits:
            raise InvalidInput(f"policy.limits.{name.replace('usd_nanos', 'usd')}", "is a tenant's or a key's")
    for name in ("billing", "unsigned_mandates", "budgets"):
        if getattr(said, name):
            raise InvalidInput(f"policy.{name}", "is a tenant's, not a session's")
    return said


async def _locked(session: AsyncSession, tenant_id: str, session_id: str) -> SessionRow:
    row = await session.get(SessionRow, session_id, with_for_update=True)
    if row is None or row.tenant_id != tenant_id:
        raise NotFound(f"there is no session {session_id}")
    return row
