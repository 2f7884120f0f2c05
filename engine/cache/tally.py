"""Hits, misses and last uses, counted in memory and written on a tick: a miss costs no write."""

from __future__ import annotations

from typing import Any

from engine.cache import rows
from ledger.clock import Clock
from ledger.database import Database


class Tally:
    """What this process has counted since it last wrote."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sums: dict[str, list[int]] = {}
        self._used_at_us: dict[tuple[str, int], int] = {}

    def missed(self, tenant_id: str) -> None:
        self._sums.setdefault(tenant_id, [0, 0, 0])[1] += 1

    def hit(self, tenant_id: str, seq: int, saved_usd_nanos: int) -> None:
        sums = self._sums.setdefault(tenant_id, [0, 0, 0])
        sums[0] += 1
        sums[2] += saved_usd_nanos
        self._used_at_us[tenant_id, seq] = self._clock.now_us()

    async def flush(self) -> None:
        """Write what was counted; what cannot be written is counted on."""
        sums, used_at_us = self._sums, self._used_at_us
        if not sums:
            return
        self._sums, self._used_at_us = {}, {}
        try:
            async with self._database.write() as session:
                await rows.add_sums(session, _tenants(sums), _used(used_at_us))
        except BaseException:
            for tenant_id, counted in sums.items():
                since = self._sums.setdefault(tenant_id, [0, 0, 0])
                self._sums[tenant_id] = [one + other for one, other in zip(counted, since, strict=True)]
            self._used_at_us = {**used_at_us, **self._used_at_us}
            raise


def _tenants(sums: dict[str, list[int]]) -> list[dict[str, Any]]:
    return [
        {"tenant_id": tenant_id, "hits": hits, "misses": misses, "saved_usd_nanos": saved}
        for tenant_id, (hits, misses, saved) in sorted(sums.items())
    ]


def _used(used_at_us: dict[tuple[str, int], int]) -> list[dict[str, Any]]:
    return [
        {"tenant_id": tenant_id, "seq": seq, "used_at_us": at_us}
        for (tenant_id, seq), at_us in sorted(used_at_us.items())
    ]
