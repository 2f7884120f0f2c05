"""The forms of a mandate's and a use's fields: texts, DIDs, payees, amounts, times. Each refusal names its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ledger.clock import SECOND_US, rfc3339
from ledger.errors import InvalidInput
from ledger.money import NANOS_PER_USD, usd_nanos
from trust.signatures import didpkh

_LATEST_S = 253_402_300_799  # the last second of the year 9999, which RFC 3339 can still say
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_DID = re.compile(r"did:[a-z0-9]+:[A-Za-z0-9._:%-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def members(value: Any, param: str, known: set[str]) -> Mapping[str, Any]:
    """An object with no other members than these: what is not understood is never taken for allowed."""
    if not isinstance(value, Mapping):
        raise InvalidInput(param, "must be an object")
    for name in value:
        if name not in known:
            raise InvalidInput(f"{param}.{name}", "is not understood here, so it cannot be kept")
    return value


def text(value: Any, param: str, longest: int = 200) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or _CONTROL.search(value):
        raise InvalidInput(param, f"must be a text of 1 to {longest} characters without control characters")
    return value


def optional_text(value: Any, param: str, longest: int = 200) -> str | None:
    return None if value is None else text(value, param, longest)


def texts(value: Any, param: str, longest: int = 100) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > longest:
        raise InvalidInput(param, f"must be a list of at most {longest} texts")
    return [text(entry, f"{param}[{n}]") for n, entry in enumerate(value)]


def account_did(value: Any, param: str) -> str:
    """`did:pkh:eip155:<chain>:<address>`, its address in lower case."""
    did = text(value, param).lower()
    didpkh.decode(did, param)
    return did


def did(value: Any, param: str) -> str:
    """Any DID; one of an account as `account_did`."""
    given = text(value, param)
    if given.lower().startswith("did:pkh:eip155:"):
        return account_did(given, param)
    if not _DID.fullmatch(given):
        raise InvalidInput(param, "must be a DID")
    return given


def payee(value: Any, param: str) -> str:
    """An address (lower case), a DID, or a listing's id."""
    given = text(value, param)
    if _ADDRESS.fullmatch(given) or given.lower().startswith("did:pkh:eip155:"):
        return given.lower()
    return given


def usd(given: Mapping[str, Any], name: str, param: str) -> int | None:
    """Nanos of `name` (a number or a decimal string) or `<name>_exact` (a string); given both, they must agree."""
    number, exact = given.get(name), given.get(f"{name}_exact")
    if exact is None:
        return None if number is None else usd_nanos(number, f"{param}.{name}")
    nanos = usd_nanos(exact, f"{param}.{name}_exact")
    shown = nanos / NANOS_PER_USD
    if number is not None and number != shown and usd_nanos(number, f"{param}.{name}") != nanos:
        raise InvalidInput(f"{param}.{name}", f"is not what {name}_exact says")
    return nanos


def time_us(value: Any, param: str) -> int | None:
    """Microseconds of a time given as RFC 3339 with its offset, or as Unix seconds."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            offset = moment.utcoffset()
        except ValueError:
            offset = None
        if offset is None or not value.isascii():
            raise InvalidInput(param, "must be an RFC 3339 time with its offset, or Unix seconds")
        seconds = int(moment.replace(microsecond=0).timestamp())
        us = seconds * SECOND_US + moment.microsecond
    elif isinstance(value, int) and not isinstance(value, bool):
        us = value * SECOND_US
    else:
        raise InvalidInput(param, "must be an RFC 3339 time with its offset, or Unix seconds")
    if not 0 <= us <= _LATEST_S * SECOND_US:
        raise InvalidInput(param, "must be between the years 1970 and 9999")
    return us


def count(value: Any, param: str, most: int = 10**9) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(param, f"must be an integer from 1 to {most}")
    return value


def shown_time(seconds: int) -> str:
    return rfc3339(seconds * SECOND_US)
