"""What the open facilitator may spend on strangers' gas in a UTC day."""

from __future__ import annotations

from agentnode.payments.errors import GasBudgetSpent
from agentnode.payments.settling.broadcaster import Broadcaster
from agentnode.payments.settling.entries import foreign_gas
from agentnode.payments.settling.journal import Beside, Journal
from agentnode.payments.tables import JournalMark, Settlement
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession

WEI_PER_ETHER = 10**18
_DAY_US = 86_400 * SECOND_US
_MOST_GAS = 400_000
"""Of one settlement (agentnode.payments.settling.sending)."""


class GasBudget:
    """Counts each settlement for another seller at the most it may cost: what it promised to pay, or the ceiling."""

    def __init__(self, journal: Journal, broadcaster: Broadcaster, clock: Clock, sender: str, limit_wei: int) -> None:
        self._journal = journal
        self._broadcaster = broadcaster
        self._clock = clock
        self._sender = sender
        self._limit_wei = limit_wei

    async def check(self) -> Beside:
        """Raises GasBudgetSpent where one more could pass the limit, ChainUnavailable where its price is unknown.

        The answer is to be asked again in the transaction that plans it: of many at once each finds room here.
        """
        now_us = self._clock.now_us()
        day_us = now_us // _DAY_US * _DAY_US
        spent = GasBudgetSpent(retry_after_ms=(day_us + _DAY_US - now_us) // 1000)
        _, fees = await self._broadcaster.terms(self._sender)
        most_wei = _MOST_GAS * fees.max_fee_per_gas
        signed_wei, unsigned = await self._journal.foreign_gas(day_us)
        if signed_wei + (unsigned + 1) * most_wei > self._limit_wei:
            raise spent

        async def with_it(session: AsyncSession, entry: Settlement) -> None:
            await session.get(JournalMark, entry.network, with_for_update=True)  # one process after the other
            signed_wei, unsigned = await foreign_gas(session, day_us)
            if signed_wei + unsigned * most_wei > self._limit_wei:
                raise spent

        return with_it
