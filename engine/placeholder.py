"""Between two of its attempts a request holds no money: a hold of nothing stands for it, so that its retries wait.

They know it by the latest hold under its key (`Spend.twin`), in whatever process they come in.
"""

from __future__ import annotations

import contextlib

from ledger.clock import SECOND_US, Clock
from ledger.errors import HoldEnded, Unavailable
from ledger.spend import Hold, Spend


class Placeholder:
    """Nothing for a request without a key. Of a process that dies the sweeper ends it."""

    def __init__(self, spend: Spend, clock: Clock, tenant_id: str, retry_key: str | None, lease_s: float) -> None:
        self._spend, self._clock = spend, clock
        self._tenant_id, self._retry_key, self._lease_s = tenant_id, retry_key, lease_s
        self._hold: Hold | None = None
        self._renewed_at_us = 0

    async def begin(self) -> None:
        """To be called before the hold of the attempt that failed ends."""
        if self._retry_key is None:
            return
        await self.end()
        self._renewed_at_us = self._clock.now_us()
        with contextlib.suppress(Unavailable):  # then that hold will not end either
            self._hold = await self._spend.reserve(
                tenant_id=self._tenant_id,
                budgets=(),
                amount_usd_nanos=0,
                lease_s=self._lease_s,
                request_key=self._retry_key,
            )

    async def stay(self) -> None:
        """To be called every second: renews the lease where it is time."""
        now_us = self._clock.now_us()
        if self._hold is not None and now_us - self._renewed_at_us > self._lease_s / 3 * SECOND_US:
            self._renewed_at_us = now_us
            with contextlib.suppress(Unavailable, HoldEnded):
                await self._spend.renew(self._hold, self._lease_s)

    async def end(self) -> None:
        """To be called at the end of the request: while an attempt is made, its own hold is the latest."""
        hold, self._hold = self._hold, None
        if hold is not None:
            with contextlib.suppress(Unavailable, HoldEnded):
                await self._spend.release(hold.id)
