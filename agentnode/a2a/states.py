"""The states of a task, in A2A's words, and which of them end it or hand it back to its caller."""

from __future__ import annotations

SUBMITTED = "submitted"
WORKING = "working"
INPUT_REQUIRED = "input-required"
COMPLETED = "completed"
FAILED = "failed"
CANCELED = "canceled"
REJECTED = "rejected"

STATES = (SUBMITTED, WORKING, INPUT_REQUIRED, COMPLETED, FAILED, CANCELED, REJECTED)
TERMINAL = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
SETTLED = TERMINAL | {INPUT_REQUIRED}
"""Where a blocking call returns and a stream of one message ends: nothing more happens until the caller acts."""
