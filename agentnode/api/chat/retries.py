"""How a request is known to be sent again: by an SDK's count of its retries, or under an `Idempotency-Key`. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from ledger.accounts import Caller
from ledger.errors import InvalidInput

KEEP_S = 24 * 3600
"""How long the answer under an Idempotency-Key is kept."""
RETRY_S = 600
"""How long an SDK's retry finds the answer of its first try."""


def in_one_order(body: Any) -> bytes:
    """The same bytes for the same body, in whichever order it names its fields. Raises InvalidInput."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise InvalidInput("body", "is nested too deep") from None


def is_retry(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an SDK sends the same again: it counts from zero, and what is no count says nothing."""
    count = headers.get(b"x-stainless-retry-count", b"")
    return count.isdigit() and count.strip(b"0") != b""


def retry_of(caller: Caller, raw: bytes, headers: Mapping[bytes, bytes]) -> tuple[str | None, int]:
    """Of equal requests the same, where the client may send one again; and how long its answer is kept for that."""
    key = headers.get(b"idempotency-key")
    if key is None and b"x-stainless-retry-count" not in headers:
        return None, 0
    told = hashlib.sha256(b"%b\n%b\n%b" % (str(caller.key_id).encode(), key or b"", raw)).hexdigest()
    return told, RETRY_S if key is None else KEEP_S
