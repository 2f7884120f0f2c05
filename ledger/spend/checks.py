"""What is refused before it joins a batch: values that one of the databases could not store."""

from __future__ import annotations

from typing import Any

import orjson

from ledger.errors import InvalidInput
from ledger.events import KINDS, EventDraft
from ledger.money import MAX_USD_NANOS
from ledger.spend.operations import EventRow

_MAX_INT = 2**63 - 1
_MAX_TEXT = 500
_MONEY = ("cost_usd_nanos", "upstream_cost_usd_nanos", "overrun_usd_nanos", "revenue_usd_nanos", "credits_usd_nanos")


def amount(value: int, param: str) -> int:
    """Raises InvalidInput for anything but an integer from 0 to MAX_USD_NANOS."""
    if type(value) is not int or not 0 <= value <= MAX_USD_NANOS:
        raise InvalidInput(param, f"must be an integer from 0 to {MAX_USD_NANOS} nanos")
    return value


def name(value: str, param: str) -> str:
    """Raises InvalidInput for an id or an account that is empty, too long, or not storable text."""
    if type(value) is not str or not 0 < len(value) <= _MAX_TEXT:
        raise InvalidInput(param, f"must be a text of 1 to {_MAX_TEXT} characters")
    storable(value, param)
    return value


def names(values: tuple[str, ...], param: str) -> tuple[str, ...]:
    for value in values:
        name(value, param)
    if len(set(values)) != len(values):
        raise InvalidInput(param, "must name each budget once")
    return values


def event_row(draft: EventDraft, at_us: int) -> EventRow:
    """The draft as a row. Raises InvalidInput naming the field that cannot be stored."""
    row = draft.as_row()
    name(draft.id, "event.id")
    name(draft.tenant_id, "event.tenant_id")
    if draft.kind not in KINDS:
        raise InvalidInput("event.kind", f"must be one of {', '.join(KINDS)}")
    if draft.evidence_status not in ("present", "missing"):
        raise InvalidInput("event.evidence_status", "must be present or missing")
    for field in _MONEY:
        if type(value := row[field]) is not int or not 0 <= value <= MAX_USD_NANOS:
            amount(value, f"event.{field}")
    try:
        # As they were when they were handed in, whoever changes them afterwards; and encoded once for all.
        for field in ("attribution", "trace"):
            row[field] = orjson.Fragment(orjson.dumps(row[field]) if row[field] else b"{}")
        encoded = orjson.dumps(row, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        encoded = b"\\u0000"
    if b"\\u0000" in encoded:  # that, or what a quick look cannot tell from it
        _look_closely(draft, row)
    row["at_us"] = at_us
    return row


def _look_closely(draft: EventDraft, row: EventRow) -> None:
    for field, value in vars(draft).items():
        storable(value, f"event.{field}")
    try:
        orjson.dumps(row | vars(draft))
    except TypeError as error:
        raise InvalidInput("event", f"must hold JSON values only ({error})") from None


def storable(value: Any, param: str) -> None:
    """Raises InvalidInput for NUL and lone surrogates in text, and for integers beyond 64 bits."""
    match value:
        case str():
            if "\0" in value or not _encodes(value):
                raise InvalidInput(param, "must not contain NUL characters or lone surrogates")
        case int():
            if abs(value) > _MAX_INT:
                raise InvalidInput(param, "must fit into 64 bits")
        case dict():
            for key, inner in value.items():
                storable(key, param)
                storable(inner, f"{param}.{key}")
        case list() | tuple():
            for inner in value:
                storable(inner, param)


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
