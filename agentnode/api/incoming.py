"""What the HTTP request of a chat completion says beside its body's fields: its bytes, its delivery, its retries."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from starlette.types import Receive

from agentnode.api.keyed import KEEP_S
from ledger.accounts import Caller
from ledger.errors import InvalidInput

MAX_BODY_BYTES = 50_000_000
RETRY_S = 600
"""How long an SDK's retry finds the answer of its first try."""


async def read_body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise InvalidInput("body", f"must have at most {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


def in_one_order(body: Any) -> bytes:
    """The same bytes for the same body, in whichever order it names its fields. Raises InvalidInput."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise InvalidInput("body", "is nested too deep") from None


def delivery_of(body: dict[str, Any], keyed: bool) -> tuple[bool, bool]:
    """Whether the answer is streamed, and with a chunk of its usage. Raises InvalidInput."""
    streamed, wishes = body.get("stream"), body.get("stream_options")
    if not isinstance(streamed, bool | None):
        raise InvalidInput("stream", "must be true or false")
    if not isinstance(wishes, dict | None):
        raise InvalidInput("stream_options", "must be an object")
    with_usage = wishes.get("include_usage") if wishes else None
    if not isinstance(with_usage, bool | None):
        raise InvalidInput("stream_options.include_usage", "must be true or false")
    if streamed and keyed:
        raise InvalidInput("stream", "must be false under an Idempotency-Key: only a whole answer is kept for it")
    return bool(streamed), bool(with_usage)


def retry_of(caller: Caller, raw: bytes, headers: dict[bytes, bytes]) -> tuple[str | None, int]:
    """Of equal requests the same, where the client may send one again; and how long its answer is kept for that."""
    key = headers.get(b"idempotency-key")
    if key is None and b"x-stainless-retry-count" not in headers:
        return None, 0
    told = hashlib.sha256(b"%b\n%b\n%b" % (str(caller.key_id).encode(), key or b"", raw)).hexdigest()
    return told, RETRY_S if key is None else KEEP_S
