"""What is signed is exactly what was agreed, and no longer valid than it needs to be."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hire_offers import PAYEE, TOKEN, USDC, accepts, required, version_1

from agentnode.hire.quote import read_quote
from agentnode.hire.wallet import SignedPayment, sign_payment
from ledger.money import Asset

KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"


def signed(asked: dict[str, Any], window_s: int = 120, asset: Asset = USDC) -> SignedPayment:
    from eth_account import Account

    return sign_payment(Account.from_key(KEY), read_quote(asked, asset), asset, window_s)


def signer_of(payment: SignedPayment) -> str:
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    inner = payment.payload["payload"]
    fields = inner["authorization"]
    types = [("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256")]
    types += [("validBefore", "uint256"), ("nonce", "bytes32")]
    message = encode_typed_data(
        {"name": "USD Coin", "version": "2", "chainId": 31337, "verifyingContract": TOKEN},
        {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in types]},
        {
            **{name: int(fields[name]) for name in ("value", "validAfter", "validBefore")},
            "from": fields["from"],
            "to": fields["to"],
            "nonce": bytes.fromhex(fields["nonce"][2:]),
        },
    )
    return str(Account.recover_message(message, signature=inner["signature"]))


def test_the_authorisation_pays_the_quote_in_our_tokens_domain_whatever_the_seller_says() -> None:
    from eth_account import Account

    payment = signed(required(accepts(extra={"name": "Dollar", "version": "9"})))
    fields = payment.payload["payload"]["authorization"]
    assert (fields["to"].lower(), fields["value"]) == (PAYEE.lower(), "10000")
    assert signer_of(payment) == Account.from_key(KEY).address
    assert payment.payload["accepted"]["extra"] == {"name": "Dollar", "version": "9"}
    assert payment.nonce == fields["nonce"].lower() and len(payment.nonce) == 66


def test_a_version_1_offer_is_paid_in_version_1_under_the_name_that_it_used() -> None:
    from eth_account import Account

    payment = signed(version_1())
    assert {key: payment.payload[key] for key in ("x402Version", "scheme", "network")} == {
        "x402Version": 1,
        "scheme": "exact",
        "network": "base-sepolia",
    }
    assert signer_of(payment) == Account.from_key(KEY).address


@pytest.mark.parametrize(("asked_s", "ours_s", "open_s"), [(300, 120, 120), (30, 120, 30)])
def test_the_window_is_the_shorter_of_the_sellers_and_ours(asked_s: int, ours_s: int, open_s: int) -> None:
    before = int(time.time())
    payment = signed(required(accepts(maxTimeoutSeconds=asked_s)), ours_s)
    assert before + open_s <= payment.valid_before_s <= int(time.time()) + open_s
    assert payment.payload["payload"]["authorization"]["validBefore"] == str(payment.valid_before_s)


def test_a_token_that_the_library_does_not_know_is_paid_beyond_its_default_cap() -> None:
    payment = signed(required(accepts(amount="5000000")))
    assert payment.payload["payload"]["authorization"]["value"] == "5000000"


def test_two_payments_never_share_a_nonce() -> None:
    assert signed(required()).nonce != signed(required()).nonce
