"""Reading the settlement journal: what is open, what pays which payment, what the operator looks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import and_, or_
from sqlmodel import col, select

from agentnode.payments.tables import OPEN_POINTS, UNPAID_POINTS, JournalMark, Settlement, SettlementAttempt
from ledger.clock import Clock
from ledger.database import AsyncSession, Database

_WATCHED_AT_ONCE = 200


@dataclass(frozen=True)
class Wanted:
    """Which entries the operator looks for; empty members look for all. `after` is the last one that was seen."""

    points: Sequence[str] = ()
    payer: str = ""
    payee: str = ""
    payment_id: str = ""
    tx_hash: str = ""
    via: str | None = None
    since_us: int = 0
    until_us: int | None = None
    after: tuple[int, str] | None = None
    limit: int = 50


class Offered(Protocol):
    """What a payer offers of any scheme: one transfer, made or to be made. Payer, asset and nonce name it for good."""

    @property
    def scheme(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def asset(self) -> str: ...
    @property
    def payer(self) -> str: ...
    @property
    def payee(self) -> str: ...
    @property
    def amount_atomic(self) -> int: ...
    @property
    def valid_before_s(self) -> int: ...
    @property
    def nonce(self) -> str: ...


class Entries:
    """Every method reads one snapshot of its own."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self, network: str, scheme: str = "exact") -> Sequence[Settlement]:
        """Entries of one chain that our own queue is to bring to their end, in order of arrival."""
        waiting = select(Settlement).where(
            *(col(Settlement.point).in_(OPEN_POINTS), Settlement.via == "", Settlement.network == network),
            Settlement.scheme == scheme,
        )
        async with self._database.read() as session:
            return (await session.exec(waiting.order_by(col(Settlement.seq)))).all()

    async def carried(self) -> Sequence[Settlement]:
        """The same that other facilitators carry, of every chain."""
        waiting = select(Settlement).where(
            col(Settlement.point).in_(OPEN_POINTS), Settlement.via != "", Settlement.scheme == "exact"
        )
        waiting = waiting.order_by(col(Settlement.seq))
        async with self._database.read() as session:
            return (await session.exec(waiting)).all()

    async def account_nonces(self, network: str) -> set[int | None]:
        """Of the sending key on one chain: those that open entries were signed under."""
        taken = select(Settlement.account_nonce).where(
            col(Settlement.point).in_(OPEN_POINTS), Settlement.via == "", Settlement.network == network
        )
        async with self._database.read() as session:
            return set((await session.exec(taken)).all())

    async def watched(self) -> Sequence[Settlement]:
        """Ended entries about which the chain is to be asked again by now, the longest due first."""
        due = select(Settlement).where(col(Settlement.look_at_us) <= self._clock.now_us())
        async with self._database.read() as session:
            return (await session.exec(due.order_by(col(Settlement.look_at_us)).limit(_WATCHED_AT_ONCE))).all()

    async def attempts(self, entry: Settlement) -> Sequence[SettlementAttempt]:
        """The signed transactions of an entry, newest first."""
        async with self._database.read() as session:
            return await attempts_in(session, [entry.id])

    async def attempts_of(self, entries: Sequence[Settlement]) -> dict[str, list[SettlementAttempt]]:
        """The same of many, by the entry's id."""
        by_entry: dict[str, list[SettlementAttempt]] = {entry.id: [] for entry in entries}
        if entries:
            async with self._database.read() as session:
                for attempt in await attempts_in(session, list(by_entry)):
                    by_entry[attempt.settlement_id].append(attempt)
        return by_entry

    async def get(self, settlement_id: str) -> Settlement | None:
        async with self._database.read() as session:
            return await session.get(Settlement, settlement_id)

    async def of_payment(self, payment_id: str) -> Settlement | None:
        """The entry that pays `payment_id`: the one that is under way or moved money, else the last that failed."""
        async with self._database.read() as session:
            found = select(Settlement).where(Settlement.payment_id == payment_id).order_by(col(Settlement.seq).desc())
            entries = (await session.exec(found)).all()
        paying = (entry for entry in entries if entry.point not in UNPAID_POINTS)
        return next(paying, entries[0] if entries else None)

    async def of_authorization(self, offered: Offered) -> Settlement | None:
        async with self._database.read() as session:
            return await of_authorization(session, offered.network, offered.asset, offered.payer, offered.nonce)

    async def knows(self, network: str, asset: str, payer: str, nonce: str) -> bool:
        async with self._database.read() as session:
            return await of_authorization(session, network, asset, payer, nonce) is not None

    async def listed(self, wanted: Wanted) -> Sequence[Settlement]:
        """Newest first, at most `limit`."""
        asked = select(Settlement).order_by(col(Settlement.created_at_us).desc(), col(Settlement.id).desc())
        for column, value in (
            (Settlement.payer, wanted.payer.lower()),
            (Settlement.payee, wanted.payee.lower()),
            (Settlement.payment_id, wanted.payment_id),
            (Settlement.tx_hash, wanted.tx_hash.lower()),
        ):
            asked = asked.where(column == value) if value else asked
        if wanted.points:
            asked = asked.where(col(Settlement.point).in_(wanted.points))
        if wanted.via is not None:
            asked = asked.where(Settlement.via == wanted.via)
        asked = asked.where(Settlement.created_at_us >= wanted.since_us)
        if wanted.until_us is not None:
            asked = asked.where(Settlement.created_at_us < wanted.until_us)
        if wanted.after is not None:
            at_us, last = wanted.after
            older = and_(col(Settlement.created_at_us) == at_us, col(Settlement.id) < last)
            asked = asked.where(or_(col(Settlement.created_at_us) < at_us, older))
        async with self._database.read() as session:
            return (await session.exec(asked.limit(wanted.limit))).all()

    async def foreign_gas(self, since_us: int) -> tuple[int, int]:
        """As the function of that name, in a snapshot of its own."""
        async with self._database.read() as session:
            return await foreign_gas(session, since_us)

    async def mark(self, network: str) -> JournalMark | None:
        """How far the chain was searched for payments to this node; None where it never was."""
        async with self._database.read() as session:
            return await session.get(JournalMark, network)

    async def older_at_us(self, network: str) -> int | None:
        """When it was seen that this database is a restored, older one: what it forgot happened before that."""
        mark = await self.mark(network)
        return mark.older_at_us if mark is not None else None

    async def marks(self) -> Sequence[JournalMark]:
        async with self._database.read() as session:
            return (await session.exec(select(JournalMark).order_by(JournalMark.network))).all()

    async def newest_block(self, network: str) -> int | None:
        """The youngest block in which an entry moved money."""
        newest = select(Settlement.block_number).where(
            Settlement.network == network, col(Settlement.block_number).is_not(None)
        )
        async with self._database.read() as session:
            return (await session.exec(newest.order_by(col(Settlement.block_number).desc()).limit(1))).first()


async def is_paid_for(session: AsyncSession, payment_id: str, but: str = "") -> bool:
    """Whether an entry pays it, or may; `but` is the id of one that does not count."""
    paying = select(Settlement.id).where(
        Settlement.payment_id == payment_id, Settlement.id != but, col(Settlement.point).not_in(UNPAID_POINTS)
    )
    return (await session.exec(paying)).first() is not None


async def attempts_in(session: AsyncSession, settlement_ids: Sequence[str]) -> Sequence[SettlementAttempt]:
    made = select(SettlementAttempt).where(col(SettlementAttempt.settlement_id).in_(settlement_ids))
    return (await session.exec(made.order_by(col(SettlementAttempt.signed_at_us).desc()))).all()


async def foreign_gas(session: AsyncSession, since_us: int) -> tuple[int, int]:
    """What settlements for other sellers promised to pay since then, in wei, and how many our own queue may yet sign:
    those that another facilitator has not brought to their end may come to it."""
    foreign = select(Settlement.id).where(
        col(Settlement.payment_id).startswith("x402:"), Settlement.updated_at_us >= since_us
    )
    signed = select(SettlementAttempt).where(col(SettlementAttempt.settlement_id).in_(foreign))
    waiting = foreign.where(
        or_(col(Settlement.point) == "planned", and_(col(Settlement.via) != "", col(Settlement.point).in_(OPEN_POINTS)))
    )
    most: dict[str, int] = {}
    for attempt in (await session.exec(signed)).all():  # of several under one account nonce one is mined
        wei = attempt.gas * int(attempt.max_fee_per_gas)
        most[attempt.settlement_id] = max(most.get(attempt.settlement_id, 0), wei)
    return sum(most.values()), len((await session.exec(waiting)).all())


async def of_authorization(
    session: AsyncSession, network: str, asset: str, payer: str, nonce: str
) -> Settlement | None:
    """The one entry of an authorisation: its signature is malleable, (payer, nonce) is not."""
    found = select(Settlement).where(
        Settlement.network == network,
        Settlement.asset == asset,
        Settlement.payer == payer,
        Settlement.nonce == nonce,
    )
    return (await session.exec(found)).first()
