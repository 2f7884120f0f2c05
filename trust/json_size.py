"""How many values JSON has: A2A's SDK makes an object of each, in Python, and is busy with a megabyte of them for
seconds."""

from __future__ import annotations

from typing import Any


def has_more_values(value: Any, most: int) -> bool:
    """Whether there are more than `most` in all, containers counted too."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        each = waiting.pop()
        count += 1
        if isinstance(each, dict | list):
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return count > most
