"""Identifiers: a prefix that says what it names, and 128 random bits."""

from __future__ import annotations

import os
import time
from collections import deque

_AT_ONCE = 256
# Asking the system lets go of the interpreter's lock, which costs a busy process more than the bytes do: many at once.
_bits: deque[str] = deque()
os.register_at_fork(after_in_child=_bits.clear)


def new_id(prefix: str) -> str:
    """`hold_9f…`: 32 hex digits from the system's random source, so that a task's id can serve as its secret."""
    try:
        return f"{prefix}_{_bits.popleft()}"
    except IndexError:
        drawn = os.urandom(16 * _AT_ONCE).hex()
        _bits.extend(drawn[place : place + 32] for place in range(0, len(drawn), 32))
        return new_id(prefix)


def ordered_id(prefix: str) -> str:
    """As `new_id`, but it begins with the time (48 bits of milliseconds, as UUIDv7 has it), so that rows made one after
    the other stand side by side in an index. For what is no secret: 80 bits are random.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{new_id('')[13:]}"
