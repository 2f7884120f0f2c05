"""What is left in the purses of a session that has ended: test money goes back where it came from, real money to the
tenant's credits."""

from __future__ import annotations

from sqlalchemy import literal
from sqlmodel import col, select

from ledger.accounts.money import TEST, move, raise_limit
from ledger.accounts.periods import credits_budget, funds_budget
from ledger.accounts.tables import SessionRow
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.spend import BudgetRow, cap, fit

_LONGEST_CALL_S = 2 * 86_400
"""So long after a session's end something may still have been held for its calls, also by a node that was down."""
_AT_ONCE = 500


class Leftovers:
    """What calls in flight held while their session ended, and did not spend. One tick of any process sees to it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def give_back(self) -> int:
        """From how many sessions. Raises DatabaseUnavailable."""
        now_us = self._clock.now_us()
        purses = [literal(kind).concat(col(SessionRow.id)) for kind in ("funds:", "test-funds:")]
        used = col(BudgetRow.spent_usd_nanos) + col(BudgetRow.held_usd_nanos)
        asked = select(SessionRow.id).distinct().join(BudgetRow, col(BudgetRow.id).in_(purses))
        asked = asked.where(col(SessionRow.ended_at_us) >= now_us - _LONGEST_CALL_S * SECOND_US)
        asked = asked.where(col(BudgetRow.limit_usd_nanos) > used).limit(_AT_ONCE)
        async with self._database.read() as session:
            ended = (await session.exec(asked)).all()
        for session_id in ended:
            async with self._database.write() as session:
                row = await session.get(SessionRow, session_id, with_for_update=True)
                assert row is not None
                await to_credits(session, row, now_us)
                await give_back(session, row, now_us)
        return len(ended)


async def to_credits(session: AsyncSession, row: SessionRow, now_us: int) -> None:
    """In the transaction that has locked the ended session: the real money that is neither spent nor held.

    Before `give_back`, and before the session's cap: budgets are locked in the order of their ids.
    """
    purse, credits = funds_budget(row.tenant_id, row.id, test=False).id, credits_budget(row.tenant_id, test=False)
    if await session.get(BudgetRow, purse) is None:
        return
    await fit(session, (), now_us, (credits,))
    await raise_limit(session, credits.id, 0)
    before = await session.get(BudgetRow, purse, with_for_update={"key_share": True}, populate_existing=True)
    assert before is not None, "budgets are never deleted"
    left = before.limit_usd_nanos - before.spent_usd_nanos - before.held_usd_nanos
    if left:
        await raise_limit(session, credits.id, left)
        await cap(session, purse, 0)
        move(session, row.tenant_id, "refund", purse, credits.id, left, now_us)


async def give_back(session: AsyncSession, row: SessionRow, now_us: int) -> None:
    """In the transaction that has locked the ended session: what is neither spent nor held."""
    purse = funds_budget(row.tenant_id, row.id, test=True).id
    before = await session.get(BudgetRow, purse, with_for_update={"key_share": True})
    if before is None:
        return
    left = before.limit_usd_nanos - before.spent_usd_nanos - before.held_usd_nanos
    if left:
        await cap(session, purse, 0)
        move(session, row.tenant_id, "refund", purse, TEST, left, now_us)
