"""An upstream's refusal says whose trouble it is, whether it is billed, and how long to wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import (
    PromptRejected,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)
from engine.providers.refusals import error_of, wait_ms_of


@pytest.mark.parametrize(
    ("status", "body", "error", "owed"),
    [
        (400, {"error": {"message": "too long"}}, PromptRejected, False),
        (413, None, PromptRejected, False),
        (401, {"error": {"message": "Incorrect API key provided: sk-..."}}, UpstreamDenied, False),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}, UpstreamDenied, False),
        (403, {"error": {"message": "country"}}, UpstreamDenied, False),
        # openrouter.ai/docs, "Errors": a flagged input is a 403 with the reasons in its metadata
        (403, {"error": {"message": "flagged", "metadata": {"reasons": ["violence"]}}}, PromptRejected, False),
        (404, {"error": {"message": "no such model"}}, UpstreamRefused, False),
        (408, None, UpstreamTimedOut, True),
        (429, {"error": {"code": "rate_limit_exceeded"}}, UpstreamBusy, False),
        (429, {"error": {"code": "insufficient_quota"}}, UpstreamDenied, False),
        (429, "busy", UpstreamBusy, False),
        (500, None, UpstreamError, True),
        (502, None, UpstreamError, True),
        (503, None, UpstreamOverloaded, False),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, UpstreamOverloaded, False),
    ],
)
def test_each_status_has_its_meaning(status: int, body: Any, error: type[UpstreamError], owed: bool) -> None:
    """And a key or account of the operator is named to nobody."""
    meant = error_of(status, body, {}, "mock")
    assert (type(meant), meant.owed) == (error, owed)
    assert "sk-" not in str(meant)


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2_000),
        ({"Retry-After": "0.5"}, 500),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1_500),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30_000),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "1e300"}, 24 * 3_600_000),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], wait_ms: int | None) -> None:
    """Seconds and HTTP date (the examples of RFC 9110, 10.2.3), and OpenAI's milliseconds before either."""
    assert wait_ms_of(headers) == wait_ms


@given(st.text(max_size=40), st.text(max_size=40), st.integers(300, 599))
def test_no_header_of_an_upstream_is_a_crash(said: str, date: str, status: int) -> None:
    """Whatever stands there, the wait is none or within a day."""
    error = error_of(status, None, {"Retry-After": said, "Date": date}, "mock")
    assert error.retry_after_ms is None or 0 <= error.retry_after_ms <= 24 * 3_600_000
