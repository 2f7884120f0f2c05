"""Time as the ledger counts it: Unix microseconds from a clock that is handed in."""

from __future__ import annotations

import time
from typing import Protocol

SECOND_US = 1_000_000


class Clock(Protocol):
    def now_us(self) -> int:
        """Unix time in microseconds."""
        ...


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1_000


def seconds(us: int) -> int:
    """Whole Unix seconds of a time in microseconds."""
    return us // SECOND_US


def rfc3339(us: int) -> str:
    """`2026-01-31T12:00:00.000000Z`, as answers show a time."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(us / SECOND_US, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
