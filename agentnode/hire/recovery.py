"""Ends what was left open by a crash, a silent seller or a silent chain: at start, and on every tick."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from agentnode.hire.calls import ABANDONED, Calls
from agentnode.hire.following import Following
from agentnode.hire.purse import Purse
from agentnode.hire.tables import HireCall
from ledger.errors import AgentNodeError

_log = logging.getLogger(__name__)

_AT_ONCE = 8
_TASKS_S = 10.0
"""How long a round asks sellers at most: the next one has money to end."""


class Recovery:
    """Safe beside calls that are under way, and beside other workers' recoveries: each end is reached once."""

    def __init__(self, calls: Calls, purse: Purse, following: Following) -> None:
        self._calls = calls
        self._purse = purse
        self._following = following

    async def settle_open_calls(self) -> int:
        """How many calls' money reached its end in this round; the others stay for the next.

        The money first, of every call: its end is on the chain, and no seller delays it.
        """
        calls = list(await self._calls.open())
        ended = sum(await self._each(calls, self._settle))
        asked = [call for call in calls if call.nonce and not call.task_ended]
        # In another order each time, so that the same silent sellers do not use up every round.
        random.shuffle(asked)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TASKS_S):
                await self._each(asked, self._look)
        return ended

    async def _each(self, calls: Sequence[HireCall], act: Callable[[HireCall], Awaitable[bool]]) -> list[bool]:
        few = asyncio.Semaphore(_AT_ONCE)

        async def acted(call: HireCall) -> bool:
            async with few:
                try:
                    return await act(call)
                except AgentNodeError as reason:
                    _log.warning("call %s stays open: %s", call.id, reason.code)
                    return False

        return await asyncio.gather(*(acted(call) for call in calls))

    async def _settle(self, call: HireCall) -> bool:
        if call.point == "planned":
            abandoned = await self._calls.claim_abandoned(call)
            if abandoned:
                await self._purse.release(call)
                await self._calls.released(call, ABANDONED)
            return abandoned
        was_open = call.point == "signed"
        await self._following.end_payment(call, None)
        return was_open and call.point != "signed"

    async def _look(self, call: HireCall) -> bool:
        return await self._following.look(call) is not None
