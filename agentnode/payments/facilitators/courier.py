"""Carries settlements through remote facilitators: hands over once, asks the chain, and believes nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from agentnode.payments.facilitators.routes import Routes
from agentnode.payments.facilitators.words import Word
from agentnode.payments.settling.journal import Journal, Mined
from agentnode.payments.settling.proof import Proof, Unclear
from agentnode.payments.tables import Settlement
from ledger.clock import SECOND_US, Clock, seconds
from ledger.errors import Unavailable
from ledger.work import Claim, ClaimLost, Claims

_log = logging.getLogger(__name__)

_LEASE_S = 10.0
_ROUND_S = 0.25
_LEAST_WINDOW_S = 2
_TRIES = 3
"""While nobody is reached nothing has left, so whoever waits is told soon, and the same payload is good as before."""
_LONGEST_WAIT_S = 10.0


class Courier:
    """One process at a time, under the claim `courier`; entries beside one another: who is slow delays no other."""

    def __init__(
        self,
        journal: Journal,
        routes: Routes,
        proofs: Mapping[str, Proof],
        claims: Claims,
        clock: Clock,
        ask_again_s: float = 1.0,
    ) -> None:
        self._journal = journal
        self._routes = routes
        self._proofs = proofs
        self._claims = claims
        self._clock = clock
        self._ask_again_s = ask_again_s
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, tuple[int, float]] = {}
        """When this process last asked about an entry, and how long it waits before it asks again."""

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    claim = await self._claims.claim("courier", "all", _LEASE_S)
                    if claim is not None:
                        await self._lead(claim)
                except (Unavailable, ClaimLost) as reason:
                    _log.warning("what facilitators carry waits: %s", reason)
                await asyncio.sleep(_LEASE_S / 10)
        finally:
            for task in self._busy.values():
                task.cancel()

    async def _lead(self, claim: Claim) -> None:
        try:
            while True:
                left_us = claim.lease_until_us - self._clock.now_us()
                if left_us < _LEASE_S * SECOND_US / 2:
                    claim = await self._claims.renew(claim, _LEASE_S)
                for entry in await self._journal.carried():
                    if entry.id not in self._busy:
                        self._busy[entry.id] = asyncio.create_task(self._carried(entry, claim))
                await self._pause()
        finally:
            with contextlib.suppress(Unavailable):  # the lease runs out by itself, and a cancellation is not lost
                await asyncio.shield(self._claims.release(claim))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROUND_S):
                await self._journal.wake.wait()
        await asyncio.sleep(0.02)

    async def _carried(self, entry: Settlement, claim: Claim) -> None:
        try:
            if not await self._ended(entry, claim):
                await self._carry(entry, claim)
        except ClaimLost as lost:
            _log.info("settlement %s is carried elsewhere: %s", entry.id, lost)
        except (Unavailable, Unclear) as silence:
            _log.warning("settlement %s waits: %s", entry.id, silence)
        except Exception:
            _log.exception("settlement %s could not be carried; it is tried again", entry.id)
        finally:
            self._busy.pop(entry.id, None)

    async def _ended(self, entry: Settlement, claim: Claim) -> bool:
        """The chain is asked before anything is sent, each time."""
        found = await self._found(entry)
        if found is not None:
            await self._journal.confirmed([(entry, found)], claim)
            return True
        if entry.point == "broadcast" and await self._proof(entry).closed(entry):
            self._asked.pop(entry.id, None)
            await self._journal.abandoned(entry, claim, entry.failure or "the facilitator did not settle it in time")
            return True
        if entry.point == "planned" and entry.valid_before_s < seconds(self._clock.now_us()) + _LEAST_WINDOW_S:
            await self._journal.failed(entry, claim, "the authorisation's window closed before it could be sent")
            return True
        return False

    async def _carry(self, entry: Settlement, claim: Claim) -> None:
        remote = self._routes.remote(entry.via)
        last_us, wait_s = self._asked.get(entry.id, (0, self._ask_again_s / 2))
        if self._clock.now_us() - last_us < wait_s * SECOND_US:
            return
        if remote is None:
            if entry.point == "planned":
                await self._elsewhere(entry, claim, "the facilitator is not configured any more")
            return
        may_have_left = entry.point == "broadcast"
        if not may_have_left:
            await self._journal.broadcast([entry], claim)
        assert entry.handed is not None
        word = await remote.settle(entry.handed["body"])
        self._asked[entry.id] = self._clock.now_us(), min(wait_s * 2, _LONGEST_WAIT_S)
        await self._heard(entry, claim, word, may_have_left)

    async def _heard(self, entry: Settlement, claim: Claim, word: Word, may_have_left: bool) -> None:
        """Only where it surely has not left may another one carry it."""
        found = await self._found(entry)
        self._routes.seen(entry.via, well=found is not None or word.kind == "refused")
        if found is not None:
            self._asked.pop(entry.id, None)
            return await self._journal.confirmed([(entry, found)], claim)
        _log.warning("facilitator %s on settlement %s: %s %s", entry.via, entry.id, word.kind, word.reason)
        if word.kind in ("unreached", "refused") and not may_have_left:
            return await self._elsewhere(entry, claim, word.reason, refused=word.kind == "refused")
        return None

    async def _elsewhere(self, entry: Settlement, claim: Claim, reason: str, refused: bool = False) -> None:
        """The next carrier. With none left: who refused may have lied, so the chain is asked until the window closes;
        who was not reached is tried again, a few times."""
        assert entry.handed is not None
        tried = [*entry.handed["tried"], entry.via]
        following = self._routes.after(entry.network, tried)
        if following is not None:
            self._asked.pop(entry.id, None)
            return await self._journal.carried_by(entry, claim, following, tried, reason)
        if refused:
            return None
        if entry.tries + 1 >= _TRIES:
            return await self._journal.failed(entry, claim, f"no facilitator was reached: {reason}")
        return await self._journal.carried_by(entry, claim, entry.via, tried[:-1], reason)

    async def _found(self, entry: Settlement) -> Mined | None:
        return await self._proof(entry).transfer(entry)

    def _proof(self, entry: Settlement) -> Proof:
        return self._proofs[entry.network]
