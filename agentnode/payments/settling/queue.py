"""One queue per sending key and chain, leased to one process, which walks the journal in order of arrival.

Everything it knows stands in the journal, so that starting is the same as going on after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from agentnode.payments.settling.journal import Journal
from agentnode.payments.settling.proof import Unclear
from agentnode.payments.settling.sending import Doomed, Sending, still_open
from agentnode.payments.tables import Settlement, SettlementAttempt
from ledger.clock import SECOND_US, Clock
from ledger.errors import Unavailable
from ledger.work import Claim, ClaimLost, Claims

_log = logging.getLogger(__name__)

_LEASE_S = 10.0
_IDLE_S = 1.0
_BUSY_S = 0.2
_AT_ONCE = 32
"""How many are signed and sent in one step: who is first does not wait for a thousand others."""

_T = TypeVar("_T")


class SignerQueue:
    """Brings every open entry of the journal to its end, while this process holds the sending key's lease."""

    def __init__(self, journal: Journal, sending: Sending, claims: Claims, clock: Clock) -> None:
        self._journal = journal
        self._sending = sending
        self._claims = claims
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled: lease the key, then walk the journal whenever there is something to do."""
        while True:
            self._journal.wake.clear()  # who does not lead is woken by its own entries too
            try:
                claim = await self._claims.claim("signer", self._sending.name, _LEASE_S)
                if claim is not None:
                    await self._lead(claim)
            except (Unavailable, ClaimLost) as reason:
                _log.warning("settlement waits: %s", reason)
            await self._pause(_IDLE_S)

    async def _lead(self, claim: Claim) -> None:
        try:
            while True:
                claim = await self._kept(claim)
                self._journal.wake.clear()
                busy = await self._walk(claim)
                await self._pause(_BUSY_S if busy else _IDLE_S)
        finally:
            with contextlib.suppress(Unavailable):  # the lease runs out by itself, and a cancellation is not lost
                await asyncio.shield(self._claims.release(claim))

    async def _kept(self, claim: Claim) -> Claim:
        """The claim, renewed once half its lease is gone. Raises ClaimLost where another process leads."""
        left_us = claim.lease_until_us - self._clock.now_us()
        return claim if left_us > _LEASE_S * SECOND_US / 2 else await self._claims.renew(claim, _LEASE_S)

    async def _pause(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._journal.wake.wait()

    async def _walk(self, claim: Claim) -> bool:
        """One round over the open entries, oldest first; true where some are still open.

        What goes wrong with one stops none of the others, but that nothing new is sent behind a signed transaction
        of which it is not known whether the chain has it: account nonces go out in order.
        """
        entries = await self._journal.open(self._sending.network)
        planned = [entry for entry in entries if entry.point == "planned"]
        sure = await self._follow([entry for entry in entries if entry.point != "planned"], claim)
        while planned and sure:
            claim = await self._kept(claim)
            some, planned = planned[:_AT_ONCE], planned[_AT_ONCE:]
            doomed = await self._tried("sent", some, self._sending.send(some, claim))
            sure = doomed is not None
            await self._conclude(doomed or [], claim)
            await self._confirm([entry for entry in some if entry.point in ("signed", "broadcast")], claim)
        return bool(still_open(entries))

    async def _follow(self, underway: Sequence[Settlement], claim: Claim) -> bool:
        """Whether of all that were signed it is known that they left."""
        attempts = await self._confirm(underway, claim)
        waiting = still_open(underway)
        if not waiting:
            return True
        count = await self._tried("followed", waiting, self._sending.mined_count())
        sure = True
        for entry in waiting:
            claim = await self._kept(claim)
            was_signed, known = entry.point == "signed", attempts is not None and count is not None
            if attempts is not None and count is not None:
                followed = self._sending.follow(entry, attempts[entry.id], count, claim)
                known = await self._tried("followed", [entry], _done(followed)) is True
            sure = sure and (known or not was_signed)
        return sure

    async def _confirm(self, underway: Sequence[Settlement], claim: Claim) -> dict[str, list[SettlementAttempt]] | None:
        """The attempts of each; None where it could not be asked whether they are mined."""
        if not underway:
            return {}
        told = await self._tried("confirmed", underway, self._sending.confirm_mined(underway, claim))
        if told is None:
            return None
        attempts, reverted = told
        await self._conclude(reverted, claim)
        return attempts

    async def _conclude(self, doomed: Sequence[Doomed], claim: Claim) -> None:
        for one in doomed:
            claim = await self._kept(claim)
            await self._tried("concluded", [one.entry], self._sending.conclude(one, claim))

    async def _tried(self, what: str, entries: Sequence[Settlement], work: Awaitable[_T]) -> _T | None:
        """What it comes to; None where it went wrong, which is logged and comes again."""
        names = ", ".join(entry.id for entry in entries[:3]) + (" ..." if len(entries) > 3 else "")
        try:
            return await work
        except ClaimLost:
            raise
        except (Unavailable, Unclear) as silence:
            _log.warning("settlements %s wait to be %s: %s", names, what, silence)
        except Exception:
            _log.exception("settlements %s could not be %s; it is tried again", names, what)
        return None


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True
