"""Every refusal over HTTP, of the node's own routes and of what is sold, says alike whether to try again."""

from __future__ import annotations

import json

import pytest

from agentnode.payments import SettlementPending, refused
from ledger.errors import AgentNodeError, Conflict, InvalidInput, KeyInvalid, Unavailable

_PENDING = {"retry-after": "2", "retry-after-ms": "2000", "location": "/api/v2/payments/pay_1"}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (SettlementPending("pay_1"), _PENDING),
        (Conflict("it is there"), {"x-should-retry": "false"}),
        (Unavailable("later", retry_after_ms=1_500), {"retry-after": "2", "retry-after-ms": "1500"}),
        (KeyInvalid("which?"), {"www-authenticate": "Bearer"}),
        (InvalidInput("body", "quotes \ud800, which has no UTF-8"), {}),
    ],
    ids=lambda each: getattr(each, "code", ""),
)
def test_a_refusal_says_whether_and_when_to_try_again(error: AgentNodeError, says: dict[str, str]) -> None:
    reply = refused(error, [(b"x-more", b"1")])
    length = str(len(reply.content))
    always = {"content-type": "application/json", "content-length": length, "x-more": "1"}
    assert {name.decode(): value.decode() for name, value in reply.headers} == always | says
    assert (reply.status, json.loads(reply.content)["error"]["code"]) == (error.status, error.code)
