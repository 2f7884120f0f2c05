"""The settlement journal: written before anything leaves, so that after a crash the world can be asked what happened.

    planned -> signed -> broadcast -> settled
       ^---------+            +-----> failed        (an authorisation that failed unused may be planned again)

Every point is durable before the next step begins. `on_point` hears each name; crash tests kill the process there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from agentnode.payments.errors import PaymentRefused, QuoteExpired
from agentnode.payments.submission import Authorization
from agentnode.payments.tables import OPEN_POINTS, PaymentIntent, Settlement, SettlementAttempt
from ledger.clock import Clock
from ledger.database import AsyncSession, Database
from ledger.ids import new_id
from ledger.work import Claim, ClaimLost, Claims

_FAR_FUTURE_S = 2**62
_POLL_S = 0.5
"""How often the end of an entry is looked for that another process may bring about."""


@dataclass(frozen=True)
class Plan:
    """What is to be settled and with which call, before a nonce or a signature exists."""

    payment_id: str
    authorization: Authorization
    call_data: str
    planned_block: int


@dataclass(frozen=True)
class Mined:
    """Where the transfer was found on chain."""

    tx_hash: str
    block_number: int
    block_hash: str


class Journal:
    def __init__(
        self, database: Database, clock: Clock, claims: Claims, on_point: Callable[[str], None] = lambda name: None
    ) -> None:
        self._database = database
        self._claims = claims
        self._clock = clock
        self._on_point = on_point
        self._waited_for: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self.wake = asyncio.Event()
        """Set when an entry was planned here, so that a queue in the same process need not poll for it."""

    def point(self, name: str) -> None:
        self._on_point(name)

    async def plan(self, plan: Plan) -> Settlement:
        """Journal an authorisation that was verified, or find it already there for the same payment.

        Raises PaymentRefused DUPLICATE_NONCE where it pays, or paid, for something else, or where another payer's
        authorisation for the same payment came first; QuoteExpired where the payment was closed meanwhile.
        """
        now = self._clock.now_us()
        offered = plan.authorization
        entry = Settlement(
            id=new_id("stl"),
            seq=now,
            payment_id=plan.payment_id,
            network=offered.network,
            asset=offered.asset,
            payer=offered.payer,
            payee=offered.payee,
            nonce=offered.nonce,
            amount_atomic=str(offered.amount_atomic),
            valid_before_s=min(offered.valid_before_s, _FAR_FUTURE_S),
            call_data=plan.call_data,
            planned_block=plan.planned_block,
            created_at_us=now,
            updated_at_us=now,
        )
        try:
            async with self._database.write() as session:
                await self._refuse_closed(session, plan.payment_id)
                entry = await self._revived(session, entry) or entry
                session.add(entry)
        except IntegrityError:
            standing = await self.of_authorization(offered)
            if standing is None or not plan.payment_id or standing.payment_id != plan.payment_id:
                raise PaymentRefused("DUPLICATE_NONCE", "this authorisation or this task is paid for already") from None
            return standing
        self.point("planned")
        self.wake.set()
        return entry

    async def plan_again(self, entry: Settlement) -> Settlement:
        """A failed entry anew, as it was: what was sent for it may have been mined since. Raises QuoteExpired."""
        async with self._database.write() as session:
            await self._refuse_closed(session, entry.payment_id)
            row = await self._locked(session, entry)
            if row.point == "failed" and (row.seq, row.payment_id) == (entry.seq, entry.payment_id):
                await self._replan(session, row)
        self.wake.set()
        return row

    async def signed(self, entry: Settlement, attempt: SettlementAttempt, sender: str, claim: Claim) -> None:
        """The transaction is complete and its hash known; from here on it may be on its way.

        Raises ClaimLost where another process leases the sending key by now: its account nonces are not ours.
        """
        async with self._database.write() as session:
            session.add(attempt)
            await self._move(
                session,
                entry,
                claim,
                "signed",
                sender=sender,
                account_nonce=attempt.account_nonce,
                tx_hash=attempt.tx_hash,
            )
        self.point("signed")

    async def broadcast(self, entry: Settlement, claim: Claim) -> None:
        async with self._database.write() as session:
            await self._move(session, entry, claim, "broadcast")
        self.point("broadcast")

    async def withdraw(self, entry: Settlement, claim: Claim, attempt: SettlementAttempt) -> None:
        """A replacement that the chain surely did not take; the attempt that it was for stands."""
        async with self._database.write() as session:
            row = await session.get(SettlementAttempt, attempt.tx_hash)
            assert row is not None, "it was journaled before it was sent"
            await session.delete(row)
            await self._move(session, entry, claim, "signed")

    async def give_back(self, entry: Settlement, claim: Claim, failure: str) -> None:
        """The chain surely did not take it: the account nonce is free again, and the entry waits its turn."""
        async with self._database.write() as session:
            for attempt in await self._attempts(session, entry.id):
                await session.delete(attempt)
            await self._move(
                session, entry, claim, "planned", tries=entry.tries + 1, account_nonce=None, tx_hash="", failure=failure
            )

    async def settled(self, entry: Settlement, claim: Claim, mined: Mined) -> None:
        async with self._database.write() as session:
            await self._move(
                session,
                entry,
                claim,
                "settled",
                tx_hash=mined.tx_hash,
                block_number=mined.block_number,
                block_hash=mined.block_hash,
                failure="",
            )
        self._tell(entry)
        self.point("settled")

    async def failed(self, entry: Settlement, claim: Claim, failure: str) -> None:
        async with self._database.write() as session:
            await self._move(session, entry, claim, "failed", failure=failure)
        self._tell(entry)
        self.point("failed")

    async def open(self) -> Sequence[Settlement]:
        """Entries that have not reached an end, in order of arrival."""
        async with self._database.read() as session:
            waiting = select(Settlement).where(col(Settlement.point).in_(OPEN_POINTS)).order_by(col(Settlement.seq))
            return (await session.exec(waiting)).all()

    async def attempts(self, entry: Settlement) -> Sequence[SettlementAttempt]:
        """The signed transactions of an entry, newest first."""
        async with self._database.read() as session:
            return await self._attempts(session, entry.id)

    async def get(self, settlement_id: str) -> Settlement | None:
        async with self._database.read() as session:
            return await session.get(Settlement, settlement_id)

    async def of_payment(self, payment_id: str) -> Settlement | None:
        """The entry that pays `payment_id`: the one that is open or settled, else the last that failed."""
        async with self._database.read() as session:
            found = select(Settlement).where(Settlement.payment_id == payment_id).order_by(col(Settlement.seq).desc())
            entries = (await session.exec(found)).all()
        return next((entry for entry in entries if entry.point != "failed"), entries[0] if entries else None)

    async def of_authorization(self, offered: Authorization) -> Settlement | None:
        async with self._database.read() as session:
            return await self._of_authorization(session, offered.network, offered.asset, offered.payer, offered.nonce)

    async def ended(self, entry: Settlement, timeout_s: float) -> Settlement | None:
        """The entry once it is settled or failed, in this process or another; None where that takes too long.

        An authorisation that failed and now pays for something else is, for who waits here, failed.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        end = self._waited_for.setdefault(entry.id, asyncio.Event())
        while True:
            end.clear()
            row = await self.get(entry.id)
            assert row is not None, "journal rows are never deleted"
            if (row.seq, row.payment_id) != (entry.seq, entry.payment_id):
                row.point, row.failure = "failed", "the authorisation failed here and was used elsewhere"
            if row.point not in OPEN_POINTS:
                return row
            if loop.time() >= until:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await end.wait()

    def _tell(self, entry: Settlement) -> None:
        """Wakes who waits for this entry in this process; others find it by looking."""
        if waited_for := self._waited_for.get(entry.id):
            waited_for.set()

    async def _revived(self, session: AsyncSession, entry: Settlement) -> Settlement | None:
        """A good authorisation is not burned by a bad try: one that failed unused is planned anew."""
        standing = await self._of_authorization(session, entry.network, entry.asset, entry.payer, entry.nonce)
        if standing is None or standing.point != "failed":
            return None
        for name in ("seq", "payment_id", "payee", "amount_atomic", "valid_before_s", "call_data"):
            setattr(standing, name, getattr(entry, name))
        await self._replan(session, standing)
        return standing

    async def _replan(self, session: AsyncSession, row: Settlement) -> None:
        """The block from which its transfer is looked for stays the first: what was sent then may still be mined."""
        row.point, row.failure, row.tries = "planned", "", 0
        row.account_nonce, row.tx_hash, row.updated_at_us = None, "", self._clock.now_us()
        for attempt in await self._attempts(session, row.id):
            await session.delete(attempt)

    async def _refuse_closed(self, session: AsyncSession, payment_id: str) -> None:
        """A price that was declined, or ran out, while the payment was checked is not charged any more."""
        intent = await session.get(PaymentIntent, payment_id, with_for_update=True)
        if intent is not None and intent.status != "required":
            raise QuoteExpired

    async def _locked(self, session: AsyncSession, entry: Settlement) -> Settlement:
        row = await session.get(Settlement, entry.id, with_for_update=True)
        assert row is not None, "journal rows are never deleted"
        return row

    async def _move(self, session: AsyncSession, entry: Settlement, claim: Claim, point: str, **values: object) -> None:
        """Only who leases the sending key moves entries, and an end is final."""
        await self._claims.guard(session, claim)
        row = await self._locked(session, entry)
        if row.point not in OPEN_POINTS:
            raise ClaimLost(f"settlement {entry.id} was brought to its end by another process")
        for name, value in {**values, "point": point, "updated_at_us": self._clock.now_us()}.items():
            setattr(row, name, value)
            setattr(entry, name, value)

    @staticmethod
    async def _attempts(session: AsyncSession, settlement_id: str) -> Sequence[SettlementAttempt]:
        made = select(SettlementAttempt).where(SettlementAttempt.settlement_id == settlement_id)
        return (await session.exec(made.order_by(col(SettlementAttempt.signed_at_us).desc()))).all()

    @staticmethod
    async def _of_authorization(
        session: AsyncSession, network: str, asset: str, payer: str, nonce: str
    ) -> Settlement | None:
        found = select(Settlement).where(
            Settlement.network == network,
            Settlement.asset == asset,
            Settlement.payer == payer,
            Settlement.nonce == nonce,
        )
        return (await session.exec(found)).first()
