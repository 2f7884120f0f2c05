"""Whether two questions surely mean the same (pure); the first form: the same words but for case and end marks."""

from __future__ import annotations

import hashlib


def mark(words: str) -> bytes:
    """Eight bytes that are equal for all questions that can agree with this one."""
    return hashlib.sha256(plain(words).encode()).digest()[:8]


def agree(one: str, other: str) -> bool:
    return plain(one) == plain(other)


def plain(words: str) -> str:
    """The words as they are embedded: case, spaces and end marks say nothing, but would be half of the distance."""
    return " ".join(words.casefold().split()).rstrip("?!. ")
