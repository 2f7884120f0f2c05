"""Due work is done by one worker at a time: a claim has a lease, and a fence that tells late workers apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, text

from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import Conflict

_TAKE = """
INSERT INTO claims (kind, ref, owner, fence, lease_until_us) VALUES (:kind, :ref, :owner, 1, :until_us)
ON CONFLICT (kind, ref) DO UPDATE
SET owner = excluded.owner, fence = claims.fence + 1, lease_until_us = excluded.lease_until_us
WHERE claims.lease_until_us <= :now_us
RETURNING fence
"""
_RENEW = """
UPDATE claims SET lease_until_us = :until_us
WHERE kind = :kind AND ref = :ref AND fence = :fence AND lease_until_us > :now_us
RETURNING fence
"""
_RELEASE = "UPDATE claims SET lease_until_us = 0 WHERE kind = :kind AND ref = :ref AND fence = :fence"
# An update that changes nothing: on PostgreSQL it locks the row until the caller's transaction ends.
_GUARD = "UPDATE claims SET fence = fence WHERE kind = :kind AND ref = :ref AND fence = :fence RETURNING fence"


class ClaimLost(Conflict):
    """Another worker has taken the work over; what this one still has in hand must not be written."""

    code = "CLAIM_LOST"


@dataclass(frozen=True)
class Claim:
    """The right to do one piece of work until `lease_until_us`."""

    kind: str
    ref: str
    fence: int
    lease_until_us: int


class Claims:
    """Claims taken in the name of `owner`, this process."""

    def __init__(self, database: Database, clock: Clock, owner: str) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner

    async def claim(self, kind: str, ref: str, lease_s: float = 60) -> Claim | None:
        """The claim, or None while another holds it (also another of this process)."""
        until_us = self._until_us(lease_s)
        fence = await self._run(_TAKE, kind, ref, until_us=until_us, owner=self._owner, now_us=self._clock.now_us())
        return None if fence is None else Claim(kind, ref, fence, until_us)

    async def renew(self, claim: Claim, lease_s: float = 60) -> Claim:
        """The claim with a new lease. Raises ClaimLost where the old one had run out."""
        until_us = self._until_us(lease_s)
        now_us = self._clock.now_us()
        fence = await self._run(_RENEW, claim.kind, claim.ref, fence=claim.fence, until_us=until_us, now_us=now_us)
        if fence is None:
            raise ClaimLost(f"the lease on {claim.kind} {claim.ref} ran out")
        return Claim(claim.kind, claim.ref, claim.fence, until_us)

    async def release(self, claim: Claim) -> None:
        """Let others take it; nothing where it was lost."""
        async with self._database.write() as session:
            await _execute(session, _RELEASE, kind=claim.kind, ref=claim.ref, fence=claim.fence)

    async def guard(self, session: AsyncSession, claim: Claim) -> None:
        """To be called in the transaction that writes the result.

        Raises ClaimLost where another has taken the work since; nobody takes it before the transaction ends.
        """
        guarded = await _execute(session, _GUARD, kind=claim.kind, ref=claim.ref, fence=claim.fence)
        if guarded.first() is None:
            raise ClaimLost(f"{claim.kind} {claim.ref} was taken over")

    async def _run(self, statement: str, kind: str, ref: str, **values: int | str) -> int | None:
        async with self._database.write() as session:
            row = (await _execute(session, statement, kind=kind, ref=ref, **values)).first()
        return None if row is None else int(row[0])

    def _until_us(self, lease_s: float) -> int:
        return self._clock.now_us() + int(lease_s * SECOND_US)


async def _execute(session: AsyncSession, statement: str, **values: int | str) -> CursorResult[Any]:
    return await (await session.connection()).execute(text(statement), values)
