"""Identifiers: a prefix that says what it names, and 128 random bits."""

from __future__ import annotations

import secrets


def new_id(prefix: str) -> str:
    """`hold_9f…`: 32 hex digits from the system's random source, so that a task's id can serve as its secret."""
    return f"{prefix}_{secrets.token_hex(16)}"
