"""What the open facilitator may spend on strangers' gas in a UTC day."""

from __future__ import annotations

from agentnode.payments.errors import GasBudgetSpent
from agentnode.payments.settling.broadcaster import Broadcaster
from agentnode.payments.settling.journal import Journal
from ledger.clock import SECOND_US, Clock

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

    async def check(self) -> None:
        """Raises GasBudgetSpent where one more could pass the limit, ChainUnavailable where its price is unknown."""
        day_us = self._clock.now_us() // _DAY_US * _DAY_US
        signed_wei, unsigned = await self._journal.foreign_gas(day_us)
        _, fees = await self._broadcaster.terms(self._sender)
        most_wei = _MOST_GAS * fees.max_fee_per_gas
        if signed_wei + (unsigned + 1) * most_wei > self._limit_wei:
            raise GasBudgetSpent(retry_after_ms=(day_us + _DAY_US - self._clock.now_us()) // 1000)
