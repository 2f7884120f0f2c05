"""What work costs: a fixed sum, so much for each begun unit of its input, or what somebody quotes for it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ledger.errors import InvalidInput
from ledger.money import usd_exact, usd_nanos


@dataclass(frozen=True)
class Priced:
    """One price: `version` is of the list or the terms that it was made from, `says` how it was made."""

    usd_nanos: int
    version: str = ""
    says: str = ""


class Pricing(Protocol):
    @property
    def terms(self) -> str:
        """As a card or an offer states it; empty for what is free."""
        ...

    async def of(self, text: str, message: Mapping[str, Any]) -> Priced:
        """The price of one piece of work: its text, and the A2A message that it came in."""
        ...


def _items(text: str) -> int:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        read = None
    return len(read) if isinstance(read, list) else _lines(text)


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


Count = Callable[[str], int]
COUNTS: dict[str, Count] = {
    "character": len,
    "word": lambda text: len(text.split()),
    "line": _lines,
    "item": _items,
}
"""Units of an input; an item is an element of a JSON list, else a line that is not empty."""
_RATE = re.compile(r"(\S{1,40}) per (?:([1-9][0-9]{0,8}) )?([a-z]{1,20}?)s?", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """`usd_nanos` for each begun `size` of `unit`, one at least; without a `unit`, for each piece of work."""

    usd_nanos: int
    size: int = 1
    unit: str = ""
    count: Count | None = None

    @property
    def terms(self) -> str:
        if not self.usd_nanos:
            return ""
        if not self.unit:
            return f"{usd_exact(self.usd_nanos)} USD"
        per = self.unit if self.size == 1 else f"{self.size} {self.unit}s"
        return f"{usd_exact(self.usd_nanos)} USD per {per}"

    @property
    def version(self) -> str:
        return "rate-" + hashlib.sha256(self.terms.encode()).hexdigest()[:16] if self.unit else ""

    def price(self, text: str) -> Priced:
        if not self.unit:
            return Priced(self.usd_nanos)
        counted = (self.count or COUNTS[self.unit])(text)
        begun = max(1, -(-counted // self.size))
        return Priced(self.usd_nanos * begun, self.version, f"{counted} {self.unit}s at {self.terms}.")

    async def of(self, text: str, message: Mapping[str, Any]) -> Priced:
        return self.price(text)


@dataclass(frozen=True)
class Quoted:
    """A price that a function of the input says, in USD."""

    quote: Callable[[str], str]

    @property
    def terms(self) -> str:
        return "priced by what is asked"

    async def of(self, text: str, message: Mapping[str, Any]) -> Priced:
        return Priced(usd_nanos(self.quote(text), "price"))


def read_rate(value: Any, name: str, count: Count | None = None) -> Rate:
    """`0.01`, or `0.002 per 1000 characters`; `count` counts a unit of one's own. Raises InvalidInput naming `name`."""
    if not isinstance(value, str) or " " not in value.strip():
        return Rate(usd_nanos(value, name))
    found = _RATE.fullmatch(value.strip())
    if found is None or (count is None and found[3] not in COUNTS):
        units = ", ".join(f"{unit}s" for unit in COUNTS)
        raise InvalidInput(name, f"must be USD, or USD per N units, as in 0.002 per 1000 characters; units are {units}")
    return Rate(usd_nanos(found[1], name), int(found[2] or 1), found[3], count)
