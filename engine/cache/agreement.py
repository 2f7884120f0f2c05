"""Whether two questions surely mean the same (pure), or in what they do not: a vector's nearness cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from engine.cache.reading import Reading, is_fixed
from engine.cache.words import DATES, NEGATIONS, PLURALS, QUANTITIES, UNITS

WORD_SIMILARITY = 0.7
"""How near two different words must be to stand for each other (docs/cache.md has its curve)."""
MOST_OTHER_WORDS = 2
_SAME_BEGINNING, _SAME_END = 3, 4

Disagreement = Literal[
    "payload", "language", "number", "unit", "date", "negation", "quantity", "name", "direction", "wording"
]


def disagreement(one: Reading, other: Reading, nearness: Callable[[str, str], float]) -> Disagreement | None:
    """The first thing in which they differ, None where they agree. `nearness` is the cosine of two words."""
    if one.payloads != other.payloads:
        return "payload"
    if one.language != other.language and one.language and other.language:
        return "language"
    if one.words == other.words:
        return None if one.words else "wording"
    if Counter(one.words) == Counter(other.words):
        return "direction"
    if len(one.words) != len(other.words):
        return _kind_of(set(one.words) ^ set(other.words))
    pairs = [(a, b) for a, b in zip(one.words, other.words, strict=True) if a != b]
    if fixed := {word for pair in pairs for word in pair if is_fixed(word)}:
        return _kind_of(fixed)
    names = one.names | other.names
    if any(word in names for pair in pairs for word in pair):
        return "name"
    kept = [word for word in one.words if word in other.words and not is_fixed(word)]
    if len(pairs) > min(MOST_OTHER_WORDS, len(kept)) or {one.language, other.language} - {"en", ""}:
        return "wording"
    alike = all(_could_stand_for(a, b) and nearness(a, b) >= WORD_SIMILARITY for a, b in pairs)
    return None if alike else "wording"


def _could_stand_for(one: str, other: str) -> bool:
    """Two words of the same number, time and form, and not of one stem: cheaper is near cheapest, and not the same."""
    of_one_stem = one[:_SAME_BEGINNING] == other[:_SAME_BEGINNING] or one[-_SAME_END:] == other[-_SAME_END:]
    compared = any(one.endswith(form) and other.endswith(form) for form in ("er", "est"))
    return _form(one) == _form(other) and not of_one_stem and not compared


def _form(word: str) -> str:
    if word in PLURALS or (word.endswith("s") and not word.endswith("ss")):
        return "s"
    return next((form for form in ("ed", "ing", "ly") if word.endswith(form)), "")


def _kind_of(words: set[str]) -> Disagreement:
    if any(word[-1:].isdigit() or word[:1].isdigit() for word in words):
        return "number"
    if words & NEGATIONS:
        return "negation"
    if words & set(UNITS.values()):
        return "unit"
    if words & DATES:
        return "date"
    return "quantity" if words & QUANTITIES else "wording"
