"""What an upstream's answer that is not a completion means: whose fault, billed or not, and how long to wait. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from engine.errors import (
    PromptRejected,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)

_REJECTIONS = frozenset({400, 413, 422})
_OVERLOADS = frozenset({503, 529})
_DENIALS = frozenset({401, 402, 403})
_UNPAID = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
"""OpenAI's codes of a 429 that no waiting cures."""
_LONGEST_WAIT_MS = 24 * 3_600_000


def error_of(status: int, body: Any, headers: Mapping[str, str], upstream: str) -> UpstreamError:
    """The error for an answer that is not 200."""
    if status in _REJECTIONS or (status == 403 and _moderated(body)):
        return PromptRejected(f"{upstream} rejected the request ({status}){_said(body)}")
    wait_ms = wait_ms_of(headers)
    if status == 429 and _code(body) not in _UNPAID:
        return UpstreamBusy(f"{upstream} is at its rate limit (429)", retry_after_ms=wait_ms)
    if status in _OVERLOADS:
        return UpstreamOverloaded(f"{upstream} is overloaded ({status})", retry_after_ms=wait_ms)
    if status in _DENIALS or status == 429:
        return UpstreamDenied(f"{upstream} does not take the operator's key or account ({status})")
    if status == 408:
        return UpstreamTimedOut(f"{upstream} ran out of time (408)")
    if 300 <= status < 500:
        return UpstreamRefused(f"{upstream} refused the call ({status}); the operator must check its model and URL")
    return UpstreamError(f"{upstream} failed ({status})", retry_after_ms=wait_ms)


def wait_ms_of(headers: Mapping[str, str]) -> int | None:
    """How long the upstream asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.

    A date is counted from the answer's own `Date`, since the two clocks are one. None where nothing of use is said.
    """
    asked_ms = _number(headers.get("retry-after-ms"))
    if asked_ms is None:
        retry_after = headers.get("Retry-After")
        seconds = _number(retry_after)
        asked_ms = _until_ms(retry_after, headers.get("Date")) if seconds is None else seconds * 1_000
    return None if asked_ms is None else int(min(max(asked_ms, 0), _LONGEST_WAIT_MS))


def _until_ms(at: str | None, now: str | None) -> float | None:
    until, since = _date(at), _date(now)
    if until is None:
        return None
    return (until - (since or datetime.now(UTC))).total_seconds() * 1_000


def _date(text: str | None) -> datetime | None:
    try:
        read = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return read.replace(tzinfo=UTC) if read is not None and read.tzinfo is None else read


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _error(body: Any) -> Any:
    return body.get("error") if isinstance(body, dict) else None


def _code(body: Any) -> str | None:
    error = _error(body)
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    return code if isinstance(code, str) else None


def _moderated(body: Any) -> bool:
    """OpenRouter's 403 for an input that was flagged has the reasons with it."""
    error = _error(body)
    metadata = error.get("metadata") if isinstance(error, dict) else None
    return isinstance(metadata, dict) and "reasons" in metadata


def _said(body: Any) -> str:
    # Only what concerns the request is passed on: other messages name the operator's key or organisation. It can
    # quote the prompt, so it reaches the caller, whose it is, and no log or event.
    error = _error(body)
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message[:500]}" if isinstance(message, str) and message else ""
