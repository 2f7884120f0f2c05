"""What a payer offers is read strictly in both versions of x402, and held against what was asked."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnode.payments import PaymentRefused, PaymentRequirement
from agentnode.payments.networks import Assets
from agentnode.payments.schemes.payload import check_terms, read_authorization
from ledger.money import NANOS_PER_USD, Asset

NOW_S = 1_800_000_000
USDC = Asset("eip155:31337", "0x420DC2698a09E135F8EE0096f50B083f2Fe50E07", "USD Coin", "2", 6, NANOS_PER_USD)
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PAYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ASKED = PaymentRequirement(
    payment_id="pay_1",
    task_id="task_1",
    quote_id="quo_1",
    price_usd_nanos=10_000_000,
    amount_atomic=10_000,
    asset=USDC,
    pay_to=PAYEE,
    resource="http://node/api/a2a",
    description="Ask",
    input_hash="00",
    expires_at_us=(NOW_S + 600) * 1_000_000,
    max_timeout_s=300,
)


def payload(version: int = 2) -> dict[str, Any]:
    inner = {
        "signature": "0x" + "11" * 65,
        "authorization": {
            "from": PAYER,
            "to": PAYEE,
            "value": "10000",
            "validAfter": "0",
            "validBefore": str(NOW_S + 300),
            "nonce": "0x" + "ab" * 32,
        },
    }
    if version == 1:
        return {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": inner}
    return {"x402Version": 2, "accepted": ASKED.accepts_v2(), "payload": inner}


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(base)
    *holders, last = path.split(".")
    place = made
    for holder in holders:
        place = place[holder]
    place[last] = value
    return made


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_say_the_same(version: int) -> None:
    """A version 1 payload under a test net's name and a version 2 payload are read as one authorisation."""
    offered = read_authorization(payload(version), ASKED)
    check_terms(offered, ASKED, NOW_S)
    assert (offered.payer, offered.payee, offered.amount_atomic) == (PAYER.lower(), PAYEE.lower(), 10_000)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("accepted.network", "eip155:8453", "NETWORK_MISMATCH"),
        ("accepted.asset", PAYER, "INVALID_SIGNATURE"),
        ("accepted.payTo", PAYER, "INVALID_SIGNATURE"),
        ("accepted.amount", "9999", "INVALID_AMOUNT"),
        ("accepted.scheme", "upto", "SETTLEMENT_FAILED"),
        ("x402Version", 3, "SETTLEMENT_FAILED"),
        ("payload.authorization.value", "9999", "INVALID_AMOUNT"),
        ("payload.authorization.value", "10001", "INVALID_AMOUNT"),
        ("payload.authorization.value", "0x2710", "INVALID_AMOUNT"),
        ("payload.authorization.value", True, "INVALID_AMOUNT"),
        ("payload.authorization.value", "１００００", "INVALID_AMOUNT"),
        ("payload.authorization.value", "-10000", "INVALID_AMOUNT"),
        ("payload.authorization.to", PAYER, "INVALID_SIGNATURE"),
        ("payload.authorization.to", "0x1", "SETTLEMENT_FAILED"),
        ("payload.authorization.validAfter", str(NOW_S + 1), "EXPIRED_PAYMENT"),
        ("payload.authorization.validBefore", str(NOW_S + 5), "EXPIRED_PAYMENT"),
        ("payload.authorization.validBefore", str(NOW_S - 1), "EXPIRED_PAYMENT"),
        ("payload.authorization.nonce", "0xab", "SETTLEMENT_FAILED"),
        ("payload.signature", "0x", "INVALID_SIGNATURE"),
        ("payload.signature", None, "INVALID_SIGNATURE"),
        ("payload", [], "SETTLEMENT_FAILED"),
    ],
)
def test_other_terms_are_refused_with_the_extensions_code(path: str, value: Any, code: str) -> None:
    """A payload with another amount, payee, asset, network or window names what is wrong, in the extension's code."""
    with pytest.raises(PaymentRefused) as refused:
        check_terms(read_authorization(changed(payload(), path, value), ASKED), ASKED, NOW_S)
    assert refused.value.x402_code == code


def test_a_window_of_six_seconds_is_enough_and_a_longer_one_than_asked_is_fine() -> None:
    """The reference client signs an hour whatever was asked: that is accepted; less than six seconds is not."""
    for before in (NOW_S + 6, NOW_S + 3_600):
        check_terms(
            read_authorization(changed(payload(), "payload.authorization.validBefore", str(before)), ASKED),
            ASKED,
            NOW_S,
        )


def test_numbers_that_a_protobuf_made_floats_are_read_as_they_were_meant() -> None:
    """A2A metadata turns 300 into 300.0: whole floats are integers again, others are refused."""
    made = changed(payload(), "payload.authorization.validBefore", float(NOW_S + 300))
    assert read_authorization(made, ASKED).valid_before_s == NOW_S + 300
    with pytest.raises(PaymentRefused):
        read_authorization(changed(payload(), "payload.authorization.validBefore", NOW_S + 0.5), ASKED)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    ["x402Version", "accepted", "accepted.network", "payload", "payload.signature", "payload.authorization"]
    + [f"payload.authorization.{m}" for m in ("from", "to", "value", "validAfter", "validBefore", "nonce")]
)


@given(path=paths, value=json_values)
def test_no_payload_makes_the_reader_crash(path: str, value: Any) -> None:
    """Whatever a stranger sends is read or refused, and what is read has the amount and payee that were asked."""
    try:
        offered = read_authorization(changed(payload(), path, value), ASKED)
        check_terms(offered, ASKED, NOW_S)
    except PaymentRefused:
        return
    assert (offered.amount_atomic, offered.payee) == (10_000, PAYEE.lower())


def test_a_token_says_itself_by_which_schemes_it_pays_beside_the_first() -> None:
    """One that knows authorisations is offered as such; one address on two chains is two tokens."""
    eurc = replace(USDC, address="0x" + "e0" * 20, name="EURC", usd_nanos_per_token=2 * NANOS_PER_USD)
    usdt = replace(USDC, address="0x" + "a0" * 20, name="Tether USD", version="")
    offered = ASKED.beside(eurc, usdt).as_x402(2)["accepts"]
    assert [(one["scheme"], one["asset"], one["amount"]) for one in offered] == [
        *((scheme, USDC.address, "10000") for scheme in ("exact", "receipt", "onchain")),
        *((scheme, eurc.address, "5000") for scheme in ("exact", "onchain")),
        ("onchain", usdt.address, "10000"),
    ]
    elsewhere = replace(eurc, network="eip155:137")
    assets = Assets((USDC, eurc, elsewhere))
    assert assets.at("eip155:137", eurc.address.upper().replace("X", "x")) is elsewhere
    assert (assets.at("eip155:31337", eurc.address), assets.at("eip155:137", USDC.address)) == (eurc, None)
