"""One queue per sending key, leased to one process, which walks the journal in order of arrival.

Everything it knows stands in the journal, so that starting is the same as going on after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from agentnode.payments.journal import Journal
from agentnode.payments.sending import Sending
from agentnode.payments.tables import OPEN_POINTS
from ledger.clock import SECOND_US, Clock
from ledger.errors import Unavailable
from ledger.work import Claim, ClaimLost, Claims

_log = logging.getLogger(__name__)

_LEASE_S = 10.0
_IDLE_S = 1.0
_BUSY_S = 0.2


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
            try:
                claim = await self._claims.claim("signer", self._sending.address, _LEASE_S)
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
        entries = await self._journal.open()
        unsure = False
        for entry in entries:
            claim = await self._kept(claim)
            if unsure and entry.point == "planned":
                continue
            try:
                await self._sending.advance(entry, claim)
            except ClaimLost:
                raise
            except Unavailable as silence:
                unsure = unsure or entry.point == "signed"
                _log.warning("settlement %s waits: %s", entry.id, silence)
            except Exception:
                unsure = unsure or entry.point == "signed"
                _log.exception("settlement %s could not be advanced; it is tried again", entry.id)
        return any(entry.point in OPEN_POINTS for entry in entries)
