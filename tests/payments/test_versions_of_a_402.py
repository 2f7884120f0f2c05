"""In which versions of x402 a 402 asks is the operator's choice; the official models read each of them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from test_offers_read import ASKED
from x402.schemas import PaymentRequired
from x402.schemas.v1 import PaymentRequiredV1

from agentnode.payments import PaymentNeeded, PaymentRefused, refused

REFUSAL = PaymentRefused("INVALID_AMOUNT", "accepted.amount is not 10000")


def answered(versions: list[int], refusal: PaymentRefused | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The headers that are objects, and the body."""
    reply = refused(PaymentNeeded(replace(ASKED, x402_versions=versions), refusal))
    objects = {
        name.decode(): json.loads(base64.b64decode(value)) for name, value in reply.headers if b"payment-re" in name
    }
    return objects, json.loads(reply.content)


@pytest.mark.parametrize("versions", [[2], [1, 2], [1]], ids=["2", "1 and 2", "1"])
def test_a_402_asks_in_the_versions_that_the_operator_named(versions: list[int]) -> None:
    """Version 2 in the header, version 1 as the body; clients of version 1 would trip over a header that they know."""
    headers, body = answered(versions)
    if 2 in versions:
        assert PaymentRequired.model_validate(headers["payment-required"]).accepts[0].amount == "10000"
    else:
        assert "payment-required" not in headers
    if 1 in versions:
        read = PaymentRequiredV1.model_validate(body)
        assert [(each.network, each.max_amount_required) for each in read.accepts] == [("base-sepolia", "10000")]
    else:
        assert body == headers["payment-required"]
    assert body["error"].startswith("PAYMENT_REQUIRED: ")


@pytest.mark.parametrize(
    ("versions", "header", "network"),
    [([1, 2], "payment-response", "eip155:31337"), ([1], "x-payment-response", "base-sepolia")],
    ids=["1 and 2", "1"],
)
def test_why_a_payment_was_refused_is_said_in_the_same_version(versions: list[int], header: str, network: str) -> None:
    headers, body = answered(versions, REFUSAL)
    assert headers[header]["errorReason"] == "INVALID_AMOUNT"
    assert headers[header]["network"] == network
    assert "accepted.amount is not 10000" in body["error"]
