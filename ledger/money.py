"""Money is an integer: USD in nanos inside, token amounts in atomic units at the payment edge."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ledger.errors import InvalidInput

NANOS_PER_USD = 1_000_000_000
MAX_USD_NANOS = 4 * 10**18
"""Four billion USD: below 2**63, so that no sum of two amounts passes what either database can hold."""


def usd_nanos(value: Any, param: str = "amount_usd") -> int:
    """Nanos of a USD amount that a caller sent as a JSON number or a decimal string.

    Raises InvalidInput naming `param` for more than nine decimals, NaN, infinities, negatives, booleans,
    anything that is not a number, and amounts over MAX_USD_NANOS.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidInput(param, "must be a decimal number or a decimal string")
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if len(text) > 64 or not text.isascii() or "_" in text:
        raise InvalidInput(param, "must be a decimal number or a decimal string")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise InvalidInput(param, "must be a decimal number or a decimal string") from None
    if not amount.is_finite():
        raise InvalidInput(param, "must be a finite number")
    if amount.is_signed() and amount != 0:
        raise InvalidInput(param, "must not be negative")
    if amount.adjusted() > 10:
        raise InvalidInput(param, f"must be at most {MAX_USD_NANOS // NANOS_PER_USD} USD")
    nanos = amount.scaleb(9)
    if nanos != nanos.to_integral_value():
        raise InvalidInput(param, "must have at most nine decimals")
    if nanos > MAX_USD_NANOS:
        raise InvalidInput(param, f"must be at most {MAX_USD_NANOS // NANOS_PER_USD} USD")
    return int(nanos)


def usd_exact(nanos: int) -> str:
    """The exact decimal string of an amount in nanos, as every `*_usd_exact` field shows it."""
    sign, magnitude = ("-", -nanos) if nanos < 0 else ("", nanos)
    whole, fraction = divmod(magnitude, NANOS_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def usd_fields(name: str, nanos: int) -> dict[str, Any]:
    """`{name: float, name_exact: str}`: how an answer shows USD (a float never comes back in as money)."""
    return {name: nanos / NANOS_PER_USD, f"{name}_exact": usd_exact(nanos)}


@dataclass(frozen=True)
class Asset:
    """A token that pays: its place, its decimals, its EIP-712 domain, and what one token is worth."""

    network: str
    """CAIP-2, `eip155:8453`"""
    address: str
    name: str
    """EIP-712 domain name, which is not always the symbol"""
    version: str
    """Of that domain; empty for a token that knows no authorisations (EIP-3009)"""
    decimals: int
    usd_nanos_per_token: int

    def atomic_from_nanos(self, nanos: int) -> int:
        """Atomic units that buy `nanos`, rounded up against the payer, once."""
        return -(-nanos * self._atomic_per_token // self.usd_nanos_per_token)

    def nanos_from_atomic(self, atomic: int) -> int:
        """Nanos that `atomic` units are worth, rounded down."""
        return atomic * self.usd_nanos_per_token // self._atomic_per_token

    @property
    def has_authorizations(self) -> bool:
        return bool(self.version)

    @property
    def _atomic_per_token(self) -> int:
        return int(10**self.decimals)
