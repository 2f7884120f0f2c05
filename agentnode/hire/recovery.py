"""Ends what was left open by a crash, a silent seller or a silent chain: at start, and on every tick."""

from __future__ import annotations

import asyncio
import logging

from agentnode.hire.calls import Calls
from agentnode.hire.following import Following
from agentnode.hire.purse import Purse
from agentnode.hire.tables import HireCall
from ledger.errors import AgentNodeError

_log = logging.getLogger(__name__)

_AT_ONCE = 8
"""So that one silent seller does not keep the others' calls open."""


class Recovery:
    """Safe beside calls that are under way, and beside other workers' recoveries: each end is reached once."""

    def __init__(self, calls: Calls, purse: Purse, following: Following) -> None:
        self._calls = calls
        self._purse = purse
        self._following = following

    async def settle_open_calls(self) -> int:
        """How many calls' money reached its end in this round; the others stay for the next."""
        few = asyncio.Semaphore(_AT_ONCE)

        async def settled(call: HireCall) -> bool:
            async with few:
                try:
                    return await self._settle(call)
                except AgentNodeError as reason:
                    _log.warning("call %s stays open: %s", call.id, reason.code)
                    return False

        return sum(await asyncio.gather(*(settled(call) for call in await self._calls.open())))

    async def _settle(self, call: HireCall) -> bool:
        if call.point == "planned":
            abandoned = await self._calls.claim_abandoned(call)
            if abandoned:
                await self._purse.release(call)
            return abandoned
        was_open = call.point == "signed"
        await self._following.catch_up(call)
        return was_open and call.point != "signed"
