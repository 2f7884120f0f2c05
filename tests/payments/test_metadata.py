"""The extension's metadata speaks the version that the client reads."""

from __future__ import annotations

import pytest
from test_offers_read import ASKED

from agentnode.payments import X402_EXTENSION_URIS, PaymentRefused
from agentnode.payments.asking.task_metadata import (
    failed_metadata,
    read_submission,
    required_metadata,
    version_for,
    without_payload,
)

V0_2, V0_1, TAG = X402_EXTENSION_URIS


@pytest.mark.parametrize(
    ("activated", "said", "version"),
    [
        ((), {}, 2),
        ((V0_1,), {}, 1),
        ((V0_2,), {}, 1),
        ((TAG,), {}, 2),
        ((V0_1, TAG), {}, 2),
        ((V0_1,), {"x402.version": 2}, 2),
        ((TAG,), {"x402.version": 1.0}, 1),
        (("https://example.org/other",), {}, 2),
    ],
)
def test_the_version_follows_what_the_client_says_then_what_it_activated(
    activated: tuple[str, ...], said: dict[str, object], version: int
) -> None:
    """The URI does not tell the version of the objects, so what the reference library reads decides."""
    assert version_for(activated, said) == version


def test_version_1_has_what_the_reference_library_cannot_do_without() -> None:
    """It knows four networks by name, and drops silently a requirement without `error`."""
    required = required_metadata(ASKED, 1)["x402.payment.required"]
    assert required["accepts"][0]["network"] == "base-sepolia"
    assert required["accepts"][0]["maxAmountRequired"] == "10000"
    assert required["error"] == ""


def test_a_refusal_says_why_and_asks_again() -> None:
    """After a refused payload the requirement stands again, beside a receipt that says no."""
    said = failed_metadata(ASKED, PaymentRefused("INVALID_AMOUNT", "too little"), 2)
    assert said["x402.payment.status"] == "payment-failed"
    assert said["x402.payment.error"] == "INVALID_AMOUNT"
    assert said["x402.payment.receipts"][0]["success"] is False
    assert said["x402.payment.required"]["accepts"] == [
        ASKED.accepts_v2(each) for each in ("exact", "receipt", "onchain")
    ]


def test_a_payload_is_read_and_never_kept() -> None:
    """Who may see the task must not see the signature that paid for it."""
    metadata = {"x402.payment.status": "payment-submitted", "x402.payment.payload": {"secret": 1}}
    submission = read_submission(metadata)
    assert submission is not None
    assert submission.payload == {"secret": 1}
    assert without_payload(metadata) == {"x402.payment.status": "payment-submitted"}
    assert read_submission({"x402.payment.status": "payment-required"}) is None
