"""The journal of hires: every point durable before the next step begins.

    planned -> signed -> paid
       +---------+-----> released

Whoever is late learns it: a point is only reached from the one before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import and_, or_
from sqlmodel import col, select

from agentnode.hire.errors import CallEnded, CallUnknown
from agentnode.hire.tables import OPEN_POINTS, HireCall
from agentnode.hire.wallet import SignedPayment
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database

Bind = Callable[[AsyncSession, str], Awaitable[None]]
"""Notes the call's id where the request came from, in the transaction after which its payment may leave."""

LEASE_S = 120
ABANDONED = "abandoned"
_TASK_ASKED_FOR_US = 24 * 3_600 * SECOND_US


class Calls:
    def __init__(self, database: Database, clock: Clock, on_point: Callable[[str], None] = lambda name: None) -> None:
        self._database = database
        self._clock = clock
        self.point = on_point
        """Hears the name of each point once it is durable; crash tests end the process there."""

    async def plan(self, call: HireCall) -> None:
        """Before money is held: what is held from here on can be found again and given back."""
        call.created_at_us = call.updated_at_us = self._clock.now_us()
        call.lease_until_us = call.created_at_us + LEASE_S * SECOND_US
        async with self._database.write() as session:
            session.add(call)
        self.point("planned")

    async def signed(self, call: HireCall, signed: SignedPayment, at_block: int, bind: Bind | None = None) -> None:
        """Before the signature leaves: what it can be asked about by. Raises CallEnded where a recovery was faster."""
        moved = await self._move(
            call,
            ("planned",),
            bind,
            only_kept=True,
            point="signed",
            nonce=signed.nonce,
            valid_before_s=signed.valid_before_s,
            signed_at_block=at_block,
        )
        if not moved:
            raise CallEnded("the call was ended because it took too long; nothing was paid, so call again")
        self.point("signed")

    async def paid(self, call: HireCall, tx_hash: str) -> None:
        await self._move(call, ("signed",), point="paid", tx_hash=tx_hash)
        self.point("paid")

    async def released(self, call: HireCall, failure: str) -> None:
        await self._move(call, OPEN_POINTS, point="released", failure=failure)
        self.point("released")

    async def claim_abandoned(self, call: HireCall) -> bool:
        """Takes a planned call whose owner fell silent out of its hands: it can no longer be signed.

        It stays planned, to be found again, until what was held for it is given back.
        """
        now_us = self._clock.now_us()
        if call.point != "planned" or call.lease_until_us > now_us:
            return False
        return await self._move(call, ("planned",), failure=ABANDONED)

    async def task_seen(self, call: HireCall, state: str, ended: bool, receipt: str, delivery: str) -> None:
        seen: dict[str, Any] = {
            "task_state": state,
            "task_ended": ended,
            "receipt": receipt,
            "signed_delivery": delivery,
        }
        if any(getattr(call, name) != value for name, value in seen.items()):
            await self._move(call, (*OPEN_POINTS, "paid", "released"), **seen)

    async def answer_lost(self, call: HireCall) -> None:
        """An HTTP request whose buyer is gone was answered to nobody: there is nothing more to wait for."""
        if call.lease_until_us <= self._clock.now_us():
            await self.task_seen(call, "unknown", True, call.receipt, call.signed_delivery)

    async def get(self, tenant_id: str, call_id: str) -> HireCall:
        """Raises CallUnknown, also for another tenant's."""
        async with self._database.read() as session:
            call = await session.get(HireCall, call_id)
        if call is None or call.tenant_id != tenant_id:
            raise CallUnknown(f"there is no call {call_id[:64]}")
        return call

    async def open(self) -> Sequence[HireCall]:
        """Calls whose money has not reached its end, or whose task had not when it was last seen (for a day)."""
        since_us = self._clock.now_us() - _TASK_ASKED_FOR_US
        unfinished = and_(
            col(HireCall.point) == "paid", col(HireCall.task_ended).is_(False), col(HireCall.created_at_us) > since_us
        )
        asked = select(HireCall).where(or_(col(HireCall.point).in_(OPEN_POINTS), unfinished))
        async with self._database.read() as session:
            return (await session.exec(asked.order_by(col(HireCall.created_at_us)))).all()

    async def _move(
        self, call: HireCall, points: Sequence[str], bind: Bind | None = None, only_kept: bool = False, **values: object
    ) -> bool:
        async with self._database.write() as session:
            row = await session.get(HireCall, call.id, with_for_update=True)
            assert row is not None, "journal rows are never deleted"
            moved = row.point in points and not (only_kept and row.failure == ABANDONED)
            if moved:
                for name, value in {**values, "updated_at_us": self._clock.now_us()}.items():
                    setattr(row, name, value)
                if bind is not None:
                    await bind(session, call.id)
        for name in HireCall.model_fields:
            setattr(call, name, getattr(row, name))
        return moved
