"""The settlement journal: written before anything leaves, so that after a crash the world can be asked what happened.

    planned -> signed -> broadcast -> confirmed <-> reorged -> planned
       ^---------+            +-----> failed -> abandoned

`failed`: nothing of ours moves it any more; while its window is open anybody may, and the same payload is planned
again. `abandoned`: the window has closed and the chain says unused. `reorged`: it was confirmed, and its block undone;
it is planned again where what was sent for it can never be mined, and stays `reorged` where that fails too.
Every point is durable before the next step begins. `on_point` hears each name; crash tests kill the process there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from agentnode.payments.errors import PaymentRefused, QuoteExpired
from agentnode.payments.settling.entries import Entries, Offered, attempts_in
from agentnode.payments.shares import book_again
from agentnode.payments.tables import OPEN_POINTS, UNPAID_POINTS, PaymentIntent, Settlement, SettlementAttempt
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.ids import new_id
from ledger.together import Together
from ledger.work import Claim, ClaimLost, Claims

_FAR_FUTURE_S = 2**62
_PLANS_AT_ONCE = 64
_FIRST_LOOK_US = 5 * SECOND_US
_POLL_S, _LONGEST_POLL_S = 0.5, 2.0
_POLLS_PER_S = 50
"""How often the end of an entry is looked for that another process may bring about, and how often of all together."""
_Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Carriage:
    """Who carries a settlement: our own queue, or the facilitator at `via`, which is given `handed["body"]`.

    Nobody carries a transfer that its sender made; `handed["claim"]` is what it signed.
    """

    via: str = ""
    handed: dict[str, Any] | None = None
    compliance_version: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be settled and with which call, before a nonce or a signature exists."""

    payment_id: str
    authorization: Offered
    call_data: str
    planned_block: int
    carriage: Carriage = Carriage()
    gas: int | None = None
    """What the call took when it was tried just before."""


Beside = Callable[[AsyncSession, Settlement], Awaitable[None]]


@dataclass(frozen=True)
class Mined:
    """Where the transfer was found on chain."""

    tx_hash: str
    block_number: int
    block_hash: str


@dataclass(frozen=True, eq=False)
class _Asked:
    plan: Plan
    found: Mined | None
    also: Beside | None


class _End:
    """What those wait for who wait for one entry."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.entry: Settlement | None = None

    def of(self, asked: Settlement) -> Settlement | None:
        """The ended entry, unless what ended was planned for something else, or at another time."""
        told = self.entry
        return told if told and (told.seq, told.payment_id) == (asked.seq, asked.payment_id) else None


class Journal(Entries):
    def __init__(
        self, database: Database, clock: Clock, claims: Claims, on_point: Callable[[str], None] = lambda name: None
    ) -> None:
        super().__init__(database, clock)
        self._claims = claims
        self._on_point = on_point
        self._plans = Together(self._planned, _PLANS_AT_ONCE)
        self._waited_for: WeakValueDictionary[str, _End] = WeakValueDictionary()
        self.wake = asyncio.Event()
        """Set when an entry was planned here, so that a queue in the same process need not poll for it."""

    def point(self, name: str) -> None:
        self._on_point(name)

    async def plan(self, plan: Plan, found: Mined | None = None, also: Beside | None = None) -> Settlement:
        """Journal an authorisation that was verified, or find it already there for the same payment.

        `also` writes what is to stand or fall with the entry. With `found` it is confirmed: somebody else had broadcast
        it before it came here. Raises PaymentRefused DUPLICATE_NONCE where it pays, or paid, for something else, or
        where another payer's authorisation for the same payment came first; QuoteExpired where the payment was closed
        meanwhile.
        """
        try:
            return await self._plans.ask(_Asked(plan, found, also))
        except IntegrityError:
            standing = await self.of_authorization(plan.authorization)
            if standing is None or not _is_planned_in(plan, standing):
                raise PaymentRefused("DUPLICATE_NONCE", "this authorisation or this task is paid for already") from None
            return standing

    async def _planned(self, asked: list[_Asked]) -> list[Settlement]:
        """In one transaction."""
        entries: dict[_Asked, Settlement] = {}
        async with self._database.write() as session:
            await self._refuse_closed(session, *(one.plan.payment_id for one in asked))
            revivable = await self._revivable(session, asked)
            # In one order, so that two processes do not wait for each other.
            for one in sorted(asked, key=lambda one: one.plan.authorization.nonce):
                entries[one] = await self._put(session, one, revivable)
        for entry in entries.values():
            if entry.point == "planned":
                self._begins(entry)
            else:
                self.tell(entry)
            self.point(entry.point)
        return [entries[one] for one in asked]

    async def plan_again(self, entry: Settlement) -> Settlement:
        """One that failed or was reorged, anew as it was: what was sent for it may have been mined since.

        Raises QuoteExpired.
        """
        async with self._database.write() as session:
            if entry.point in UNPAID_POINTS:
                await self._refuse_closed(session, entry.payment_id)
            row = await self._locked(session, entry)
            stands = (row.seq, row.payment_id) == (entry.seq, entry.payment_id)
            if row.point in (*UNPAID_POINTS, "reorged") and stands:
                await self._replan(session, row)
                row.gas = None  # it was tried long ago
        self._begins(row)
        self.point("planned")
        return row

    async def signed(self, made: Sequence[tuple[Settlement, SettlementAttempt]], sender: str, claim: Claim) -> None:
        """The transactions are complete and their hashes known; from here on they may be on their way.

        Raises ClaimLost where another process leases the sending key by now: its account nonces are not ours.
        """
        async with self._database.write() as session:
            rows = await self._taken(session, [entry for entry, _ in made], claim)
            for entry, attempt in made:
                session.add(attempt)
                values = {"account_nonce": attempt.account_nonce, "tx_hash": attempt.tx_hash}
                self._set(rows[entry.id], entry, point="signed", sender=sender, **values)
        self._points("signed", len(made))

    async def broadcast(self, entries: Sequence[Settlement], claim: Claim) -> None:
        """The chain's node, or the facilitator in `via`, has it or will have it at any moment."""
        async with self._database.write() as session:
            rows = await self._taken(session, entries, claim)
            for entry in entries:
                self._set(rows[entry.id], entry, point="broadcast")
        self._points("broadcast", len(entries))

    async def withdraw(self, entry: Settlement, claim: Claim, attempt: SettlementAttempt) -> None:
        """A replacement that the chain surely did not take; the attempt that it was for stands."""
        async with self._database.write() as session:
            row = await session.get(SettlementAttempt, attempt.tx_hash)
            assert row is not None, "it was journaled before it was sent"
            await session.delete(row)
            rows = await self._taken(session, [entry], claim)
            self._set(rows[entry.id], entry, point="signed")
        self.point("withdrawn")

    async def give_back(self, entries: Sequence[Settlement], claim: Claim, failure: str = "") -> None:
        """The chain surely did not take them: their account nonces are free again, and they wait their turn.

        With a `failure` it counts as a try of theirs.
        """
        async with self._database.write() as session:
            rows = await self._taken(session, entries, claim)
            for attempt in await attempts_in(session, list(rows)):
                await session.delete(attempt)
            for entry in entries:
                tries = entry.tries + 1 if failure else entry.tries
                told = failure or entry.failure
                self._set(
                    rows[entry.id], entry, point="planned", tries=tries, account_nonce=None, tx_hash="", failure=told
                )
        self._points("returned", len(entries))

    async def carried_by(self, entry: Settlement, claim: Claim, via: str, tried: Sequence[str], failure: str) -> None:
        """It has not left: another facilitator carries it, or with no `via` our own queue."""
        async with self._database.write() as session:
            rows = await self._taken(session, [entry], claim)
            handed = {**(entry.handed or {}), "tried": list(tried)}
            values = {"via": via, "handed": handed, "tries": entry.tries + 1, "failure": failure}
            self._set(rows[entry.id], entry, point="planned", **values)
        self.point("passed_on")
        self.wake.set()

    async def confirmed(self, found: Sequence[tuple[Settlement, Mined]], claim: Claim) -> None:
        async with self._database.write() as session:
            rows = await self._taken(session, [entry for entry, _ in found], claim)
            for entry, mined in found:
                await book_again(session, rows[entry.id], "confirmed", self._clock.now_us())
                self._set(rows[entry.id], entry, **self.moved(mined))
        for entry, _ in found:
            self.tell(entry)
        self._points("confirmed", len(found))

    async def failed(self, entry: Settlement, claim: Claim, failure: str) -> None:
        await self._unpaid(entry, claim, "failed", failure, self._first_look_us())

    async def abandoned(self, entry: Settlement, claim: Claim, failure: str) -> None:
        """Its window has closed and the chain says unused: it never moves money."""
        await self._unpaid(entry, claim, "abandoned", failure, None)

    async def _unpaid(self, entry: Settlement, claim: Claim, name: str, failure: str, look_at_us: int | None) -> None:
        """What was delivered for one whose block was undone is no other payment's to buy."""
        point = "reorged" if entry.was_confirmed else name
        async with self._database.write() as session:
            rows = await self._taken(session, [entry], claim)
            self._set(rows[entry.id], entry, point=point, failure=failure, look_at_us=look_at_us)
        self.tell(entry)
        self.point(name)

    async def ended(self, entry: Settlement, timeout_s: float) -> Settlement | None:
        """The entry, as it was just read, once it has reached an end, in this process or another.

        None where that takes too long. An authorisation that failed and now pays for something else is, for who waits
        here, failed.
        """
        loop = asyncio.get_running_loop()
        until, poll_s = loop.time() + timeout_s, _POLL_S
        end = self._waited_for.setdefault(entry.id, _End())
        row = end.of(entry) or entry
        while row.point in OPEN_POINTS and loop.time() < until:
            end.told.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(poll_s, len(self._waited_for) / _POLLS_PER_S)):
                    await end.told.wait()
            poll_s = min(poll_s * 1.5, _LONGEST_POLL_S)
            row = end.of(entry) or await self._again(entry)
        return None if row.point in OPEN_POINTS else row

    async def _again(self, entry: Settlement) -> Settlement:
        row = await self.get(entry.id)
        assert row is not None, "journal rows are never deleted"
        if (row.seq, row.payment_id) != (entry.seq, entry.payment_id):
            row.point, row.failure = "failed", "the authorisation failed here and was used elsewhere"
        return row

    def tell(self, entry: Settlement) -> None:
        """Wakes who waits for this entry in this process; others find it by looking."""
        if end := self._waited_for.get(entry.id):
            end.entry = entry
            end.told.set()

    def moved(self, mined: Mined) -> dict[str, Any]:
        """The columns of an entry whose transfer was found."""
        return {
            "point": "confirmed",
            "tx_hash": mined.tx_hash,
            "block_number": mined.block_number,
            "block_hash": mined.block_hash,
            "failure": "",
            "look_at_us": self._first_look_us(),
        }

    def _first_look_us(self) -> int:
        return self._clock.now_us() + _FIRST_LOOK_US

    def _begins(self, entry: Settlement) -> None:
        if end := self._waited_for.get(entry.id):
            end.entry = None
        self.wake.set()

    def _points(self, name: str, times: int) -> None:
        for _ in range(times):
            self.point(name)

    def _entry(self, plan: Plan) -> Settlement:
        now, offered = self._clock.now_us(), plan.authorization
        return Settlement(
            id=new_id("stl"),
            seq=now,
            payment_id=plan.payment_id,
            scheme=offered.scheme,
            network=offered.network,
            asset=offered.asset,
            payer=offered.payer,
            payee=offered.payee,
            nonce=offered.nonce,
            amount_atomic=str(offered.amount_atomic),
            valid_before_s=min(offered.valid_before_s, _FAR_FUTURE_S),
            call_data=plan.call_data,
            planned_block=plan.planned_block,
            gas=plan.gas,
            via=plan.carriage.via,
            handed=plan.carriage.handed,
            compliance_version=plan.carriage.compliance_version,
            created_at_us=now,
            updated_at_us=now,
        )

    async def _revivable(self, session: AsyncSession, asked: Sequence[_Asked]) -> dict[_Key, Settlement]:
        nonces = [one.plan.authorization.nonce for one in asked]
        unpaid = select(Settlement).where(col(Settlement.nonce).in_(nonces), col(Settlement.point).in_(UNPAID_POINTS))
        return {_key(row): row for row in (await session.exec(unpaid)).all()}

    async def _put(self, session: AsyncSession, asked: _Asked, revivable: Mapping[_Key, Settlement]) -> Settlement:
        """A good authorisation is not burned by a bad try: one that failed unused is planned anew."""
        entry = self._entry(asked.plan)
        if (standing := revivable.get(_key(entry))) is not None:
            for name in (
                *("seq", "payment_id", "scheme", "payee", "amount_atomic", "valid_before_s", "call_data", "gas"),
                *("via", "handed", "compliance_version"),
            ):
                setattr(standing, name, getattr(entry, name))
            await self._replan(session, standing)
            entry = standing
        for column, value in (self.moved(asked.found) if asked.found else {}).items():
            setattr(entry, column, value)
        session.add(entry)
        if asked.also is not None:
            await asked.also(session, entry)
        return entry

    async def _replan(self, session: AsyncSession, row: Settlement) -> None:
        """The block from which its transfer is looked for stays the first: what was sent then may still be mined."""
        row.point, row.failure, row.tries, row.look_at_us = "planned", "", 0, None
        row.account_nonce, row.tx_hash, row.updated_at_us = None, "", self._clock.now_us()
        if row.via:
            row.handed = {**(row.handed or {}), "tried": []}
        for attempt in await attempts_in(session, [row.id]):
            await session.delete(attempt)

    async def _refuse_closed(self, session: AsyncSession, *payment_ids: str) -> None:
        """A price that was declined, or ran out, while the payment was checked is not charged any more."""
        asked = select(PaymentIntent).where(col(PaymentIntent.id).in_(payment_ids)).order_by(PaymentIntent.id)
        for intent in (await session.exec(asked.with_for_update())).all():
            if intent.status != "required":
                raise QuoteExpired

    async def _locked(self, session: AsyncSession, entry: Settlement) -> Settlement:
        row = await session.get(Settlement, entry.id, with_for_update=True)
        assert row is not None, "journal rows are never deleted"
        return row

    async def _taken(
        self, session: AsyncSession, entries: Sequence[Settlement], claim: Claim
    ) -> Mapping[str, Settlement]:
        """Only who leases what carries them moves open entries, and an end is final."""
        await self._claims.guard(session, claim)
        ids = [entry.id for entry in entries]
        locked = select(Settlement).where(col(Settlement.id).in_(ids)).order_by(col(Settlement.id)).with_for_update()
        rows = {row.id: row for row in (await session.exec(locked)).all()}
        ended = [row.id for row in rows.values() if row.point not in OPEN_POINTS]
        if ended:
            raise ClaimLost(f"settlement {ended[0]} was brought to its end by another process")
        return rows

    def _set(self, row: Settlement, entry: Settlement, **values: Any) -> None:
        for name, value in {**values, "updated_at_us": self._clock.now_us()}.items():
            setattr(row, name, value)
            setattr(entry, name, value)


def _key(entry: Settlement) -> _Key:
    return entry.network, entry.asset, entry.payer, entry.nonce


def _is_planned_in(plan: Plan, standing: Settlement) -> bool:
    """Who signs one nonce for two payees, and sends both at once, has paid one of them."""
    offered = plan.authorization
    wanted = (plan.payment_id, offered.payee, str(offered.amount_atomic))
    return bool(plan.payment_id) and wanted == (standing.payment_id, standing.payee, standing.amount_atomic)
