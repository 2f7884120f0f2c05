"""Receipts read without a chain: which logs are money, and which only look like it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_utils.crypto import keccak

from trust.chain_records import (
    AUTHORIZATION_CANCELED,
    AUTHORIZATION_USED,
    TRANSFER,
    authorizations,
    read_receipt,
    transfers,
)

TOKEN = "0x" + "Aa" * 20
HASH = "0x" + "AB" * 32
PAYER, PAYEE = "0x" + "11" * 20, "0x" + "22" * 20


def word(address: str) -> str:
    return "0x" + "00" * 12 + address[2:]


def log(**changes: Any) -> dict[str, Any]:
    whole = {
        "address": TOKEN,
        "topics": [TRANSFER, word(PAYER), word(PAYEE)],
        "data": "0x" + f"{10_000:064x}",
        "logIndex": "0x0",
        "transactionHash": HASH,
        "blockNumber": "0x5",
    }
    return {**whole, **changes}


def receipt(*logs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = {
        "transactionHash": HASH,
        "status": "0x1",
        "blockNumber": "0x5",
        "blockHash": HASH,
        "gasUsed": "0x5208",
        "effectiveGasPrice": "0x1",
        "logs": list(logs),
    }
    return {**whole, **changes}


def test_the_topics_are_those_events() -> None:
    """The constants are the hashes of the events' signatures."""
    assert "0x" + keccak(text="Transfer(address,address,uint256)").hex() == TRANSFER
    assert "0x" + keccak(text="AuthorizationUsed(address,bytes32)").hex() == AUTHORIZATION_USED
    assert "0x" + keccak(text="AuthorizationCanceled(address,bytes32)").hex() == AUTHORIZATION_CANCELED


def test_a_transfer_is_read_exactly_and_in_lower_case() -> None:
    """Token, from, to and amount, comparable as text whatever case the node answers in."""
    read = read_receipt(receipt(log()))
    (transfer,) = transfers(read, TOKEN.upper().replace("0X", "0x"))
    assert (transfer.token, transfer.sender, transfer.payee) == (TOKEN.lower(), PAYER, PAYEE)
    assert (transfer.amount_atomic, read.block_hash, read.tx_hash) == (10_000, HASH.lower(), HASH.lower())


@pytest.mark.parametrize(
    "other",
    [
        log(address="0x" + "bb" * 20),
        log(topics=[TRANSFER, word(PAYER), word(PAYEE), "0x" + f"{10_000:064x}"], data="0x"),
        log(topics=[TRANSFER, word(PAYER), word(PAYEE), word(PAYEE)]),
        log(topics=[TRANSFER, word(PAYER)]),
        log(topics=[]),
        log(topics=["0x" + "00" * 32, word(PAYER), word(PAYEE)]),
        log(data="0x"),
        log(data="0x" + "00" * 64),
    ],
    ids=[
        "another token",
        "an ERC-721",
        "three addresses",
        "one address",
        "anonymous",
        "another event",
        "no amount",
        "two amounts",
    ],
)
def test_what_only_looks_like_a_transfer_is_none(other: dict[str, Any]) -> None:
    """Another contract's log or another shape is no payment in this token."""
    assert transfers(read_receipt(receipt(other)), TOKEN) == []


def test_logs_of_a_reverted_transaction_count_for_nothing() -> None:
    """A node that tells logs with a failure does not make it a payment."""
    used = log(topics=[AUTHORIZATION_USED, word(PAYER), HASH], data="0x")
    reverted = read_receipt(receipt(log(), used, status="0x0"))
    assert not reverted.succeeded and reverted.transfers() == [] and authorizations(reverted, TOKEN) == []


def test_authorisations_are_told_apart_by_outcome_and_token() -> None:
    """Used and cancelled are two ends, and another token's are not this one's."""
    logs = [
        log(topics=[topic, word(PAYER), HASH], data="0x", address=address)
        for topic in (AUTHORIZATION_USED, AUTHORIZATION_CANCELED)
        for address in (TOKEN, PAYEE)
    ]
    ends = authorizations(read_receipt(receipt(*logs)), TOKEN)
    assert [(end.outcome, end.authorizer, end.nonce) for end in ends] == [
        ("used", PAYER, HASH.lower()),
        ("canceled", PAYER, HASH.lower()),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        receipt(log(), status=1),
        receipt(log(), status="1"),
        receipt(log(), blockHash="0x12"),
        receipt(log(address="0x12")),
        receipt(log(data="0x123")),
        receipt(log(topics=["0x12"])),
        {},
        receipt() | {"logs": {}},
    ],
)
def test_a_malformed_receipt_is_not_read(broken: dict[str, Any]) -> None:
    """Numbers for hex, odd digits and short hashes are refused rather than padded."""
    with pytest.raises((ValueError, KeyError)):
        read_receipt(broken)
