"""A refusal as it is answered over HTTP: our error, or x402's where a payment cures it; and whether to try again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentnode.payments.errors import PaymentNeeded, SettlementPending, SignInNeeded
from agentnode.payments.taking.deliveries import Reply
from agentnode.payments.taking.headers import Header
from agentnode.payments.taking.toll import payment_required, sign_in_required
from ledger.errors import AgentNodeError


def refused(error: AgentNodeError, more: Sequence[Header] = ()) -> Reply:
    """`more`: headers that the answer has besides."""
    if isinstance(error, PaymentNeeded):
        reply = payment_required(error)
    elif isinstance(error, SignInNeeded):
        reply = sign_in_required(error)
    else:
        # In ASCII: a message that quotes what was sent can hold text that has no UTF-8.
        content = json.dumps({"error": error.as_dict()}).encode()
        reply = Reply(error.status, [(b"content-type", b"application/json")], content)
    length = (b"content-length", b"%d" % len(reply.content))
    return Reply(reply.status, [*reply.headers, length, *_what_next(error), *more], reply.content)


def _what_next(error: AgentNodeError) -> list[Header]:
    """OpenAI's SDKs try again by themselves: they are told when that helps, and where it does not."""
    headers: list[Header] = []
    if error.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1_000)))
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
    if not error.should_retry or (error.status == 409 and error.retry_after_ms is None):
        headers.append((b"x-should-retry", b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, SettlementPending):
        headers.append((b"location", error.location.encode()))
    return headers
