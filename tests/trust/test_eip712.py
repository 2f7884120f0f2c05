"""Typed data of mandates: published vectors, one accepted signature, and nothing that encoders read differently."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from tests.rounds import rounds
from trust.errors import SignatureInvalid
from trust.signatures import eip712, secp256k1

VECTORS = json.loads((Path(__file__).parent / "vectors" / "eip712.json").read_text())
ACCOUNT = Account.from_key(VECTORS["private_key"])
AUTHORITY = VECTORS["authority"]
MANDATE = eip712.MandateMessage(
    kind="intent",
    grantor=f"did:pkh:eip155:31337:{ACCOUNT.address.lower()}",
    agent="did:pkh:eip155:31337:0x036cbd53842c5426634e7929541ec2318f3dcf7e",
    max_amount_usd_nanos=2_500_000_000,
    categories=("search", "compute — é"),
    payees=("0x0000000000000000000000000000000000000001",),
    valid_from_s=1_795_000_000,
    valid_until_s=1_800_000_000,
    nonce=bytes.fromhex("11" * 32),
    constraints_hash=eip712.constraints_hash(VECTORS["constraints"]),
)
USE = eip712.UseMessage(
    mandate=eip712.digest(eip712.mandate_typed_data(MANDATE, 31337, AUTHORITY)),
    use_id="use_1",
    amount_usd_nanos=10_000_000,
    payee="0x0000000000000000000000000000000000000001",
    category="search",
    audience="",
    expires_at_s=1_795_000_600,
)
REVOCATION = eip712.RevocationMessage(mandate=USE.mandate, issued_at_s=1_795_001_000)
TYPED_DATA = {
    "Mandate": eip712.mandate_typed_data(MANDATE, 31337, AUTHORITY),
    "MandateUse": eip712.use_typed_data(USE, 31337, AUTHORITY),
    "MandateRevocation": eip712.revocation_typed_data(REVOCATION, 31337, AUTHORITY),
}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["typed_data"]["primaryType"])
def test_the_published_vectors_are_what_the_node_makes(vector: dict[str, Any]) -> None:
    """A key, a message, its digest and its signature stay what the docs say, byte for byte, in every version."""
    typed_data = TYPED_DATA[vector["typed_data"]["primaryType"]]
    assert typed_data == vector["typed_data"]
    assert json.loads(json.dumps(typed_data)) == typed_data
    assert "0x" + eip712.digest(typed_data).hex() == vector["digest"]
    assert eip712.sign(typed_data, ACCOUNT) == vector["signature"]
    assert eip712.recover(typed_data, vector["signature"]) == VECTORS["address"] == ACCOUNT.address


def test_the_types_are_those_that_were_promised() -> None:
    """The three types and their domain read as in the wire facts; changing one disowns each signed mandate."""
    promised = {
        "EIP712Domain": "string name,string version,uint256 chainId,bytes32 salt",
        "Mandate": "string kind,string authority,string grantor,string agent,uint256 maxAmountUsdNanos,"
        "string[] categories,string[] payees,uint64 validFrom,uint64 validUntil,bytes32 constraintsHash,bytes32 parent,"
        "bytes32 nonce",
        "MandateUse": "bytes32 mandate,string useId,uint256 amountUsdNanos,string payee,string category,"
        "string audience,uint64 expiresAt",
        "MandateRevocation": "bytes32 mandate,uint64 issuedAt",
    }
    for primary, typed_data in TYPED_DATA.items():
        types = {
            name: ",".join(f"{field['type']} {field['name']}" for field in fields)
            for name, fields in typed_data["types"].items()
        }
        assert types == {"EIP712Domain": promised["EIP712Domain"], primary: promised[primary]}
        assert typed_data["domain"] == {
            "name": "agentnode",
            "version": "1",
            "chainId": 31337,
            "salt": "0x" + hashlib.sha256(AUTHORITY.encode()).hexdigest(),
        }


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "cart"},
        {"grantor": "did:pkh:eip155:31337:0x0000000000000000000000000000000000000009"},
        {"agent": ""},
        {"max_amount_usd_nanos": 2_500_000_001},
        {"categories": ("compute — é", "search")},
        {"categories": ()},
        {"payees": ()},
        {"valid_from_s": 0},
        {"valid_until_s": 1_800_000_001},
        {"nonce": bytes(32)},
        {"constraints_hash": eip712.ZERO},
        {"parent": bytes([1] * 32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_member_of_a_mandate_is_signed(change: dict[str, Any]) -> None:
    """A mandate with any member changed has another digest, so the grantor's signature is not on it."""
    changed = eip712.mandate_typed_data(replace(MANDATE, **change), 31337, AUTHORITY)
    signature = eip712.sign(TYPED_DATA["Mandate"], ACCOUNT)
    assert eip712.digest(changed) != eip712.digest(TYPED_DATA["Mandate"])
    assert eip712.recover(changed, signature) != ACCOUNT.address


def test_a_signature_is_of_one_chain_and_one_authority() -> None:
    """The same mandate on another chain or for another node is not signed."""
    here = eip712.digest(TYPED_DATA["Mandate"])
    assert eip712.digest(eip712.mandate_typed_data(MANDATE, 8453, AUTHORITY)) != here
    assert eip712.digest(eip712.mandate_typed_data(MANDATE, 31337, AUTHORITY + "x")) != here


def test_a_wallet_may_write_v_as_0_or_1_and_sign_without_0x() -> None:
    """Hardware wallets write v as 0 or 1: it is read as 27 or 28."""
    typed_data = TYPED_DATA["Mandate"]
    raw = bytes.fromhex(eip712.sign(typed_data, ACCOUNT).removeprefix("0x"))
    low_v = raw[:64] + bytes([raw[64] - 27])
    assert secp256k1.normalise(low_v) == raw
    assert eip712.recover(typed_data, low_v) == eip712.recover(typed_data, raw.hex()) == ACCOUNT.address


def test_a_respelled_signature_is_refused() -> None:
    """The twin with the high s, another length, another v and text that is no hex are refused, not recovered."""
    typed_data = TYPED_DATA["Mandate"]
    raw = bytes.fromhex(eip712.sign(typed_data, ACCOUNT).removeprefix("0x"))
    high_s = secp256k1.ORDER - int.from_bytes(raw[32:64], "big")
    twin = raw[:32] + high_s.to_bytes(32, "big") + bytes([27 + 28 - raw[64]])
    assert Account._recover_hash(eip712.digest(typed_data), signature=twin) == ACCOUNT.address, (
        "ecrecover takes the twin"
    )
    respelled: list[str | bytes] = [
        twin,
        raw[:64] + bytes([37]),
        raw[:64],
        raw + b"\x00",
        raw[:64] + bytes([2]),
        bytes(64) + b"\x1b",
        raw[:32] + bytes(32) + raw[64:],
        secp256k1.ORDER.to_bytes(32, "big") + raw[32:],
        "",
        "0x",
        "0xzz",
        "0x" + raw.hex() + "١",
    ]
    for signature in respelled:
        with pytest.raises(SignatureInvalid, match="SIGNATURE_INVALID"):
            eip712.recover(typed_data, signature)
        with pytest.raises(SignatureInvalid):
            secp256k1.normalise(signature)


def test_a_signature_that_no_key_can_have_made_is_refused() -> None:
    """An r that is on no point of the curve ends in a refusal, not in a stranger's exception."""
    with pytest.raises(SignatureInvalid):
        secp256k1.recover(bytes(32), (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\x1b")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"grantor": None}, "user_did"),
        ({"kind": 1}, "type"),
        ({"agent": "\ud800"}, "agent_did"),
        ({"max_amount_usd_nanos": 1.0}, "max_amount_usd"),
        ({"max_amount_usd_nanos": True}, "max_amount_usd"),
        ({"max_amount_usd_nanos": -1}, "max_amount_usd"),
        ({"max_amount_usd_nanos": 2**256}, "max_amount_usd"),
        ({"valid_until_s": 2**64}, "valid_until"),
        ({"valid_from_s": "0"}, "valid_from"),
        ({"nonce": b"\x11"}, "nonce"),
        ({"nonce": "0x" + "11" * 32}, "nonce"),
        ({"categories": ("search", None)}, "allowed_categories"),
    ],
)
def test_what_encoders_read_differently_is_refused_before_encoding(change: dict[str, Any], param: str) -> None:
    """Null for a string, floats, booleans, short bytes: wallets hash them each in its own way; here none passes."""
    with pytest.raises(InvalidInput) as refusal:
        eip712.mandate_typed_data(replace(MANDATE, **change), 31337, AUTHORITY)
    assert refusal.value.param == param


def test_constraints_are_hashed_in_canonical_json() -> None:
    """The order of members does not matter, that of lists does, and no constraint is zero."""
    one = {"max_per_use_usd_nanos": "250000000", "items": [{"id": "a"}, {"id": "b"}]}
    assert eip712.constraints_hash({}) == eip712.ZERO
    text = b'{"items":[{"id":"a"},{"id":"b"}],"max_per_use_usd_nanos":"250000000"}'
    assert eip712.constraints_hash(one) == hashlib.sha256(text).digest()
    assert eip712.constraints_hash(dict(reversed(one.items()))) == eip712.constraints_hash(one)
    assert eip712.constraints_hash({**one, "items": one["items"][::-1]}) != eip712.constraints_hash(one)


@pytest.mark.parametrize("value", [float("nan"), 2**53 + 1, "\ud800", {1: 2}])
def test_a_constraint_without_one_canonical_form_is_refused(value: Any) -> None:
    """What JSON cannot say in one way is bad input, never a hash that another party computes differently."""
    with pytest.raises(InvalidInput):
        eip712.constraints_hash({"limit": value})


texts = st.text(st.characters(codec="utf-8"), max_size=40)
mandates = st.builds(
    eip712.MandateMessage,
    kind=texts,
    grantor=texts,
    agent=texts,
    max_amount_usd_nanos=st.integers(0, 2**256 - 1),
    categories=st.lists(texts, max_size=4),
    payees=st.lists(texts, max_size=4),
    valid_from_s=st.integers(0, 2**64 - 1),
    valid_until_s=st.integers(0, 2**64 - 1),
    nonce=st.binary(min_size=32, max_size=32),
    constraints_hash=st.binary(min_size=32, max_size=32),
    parent=st.binary(min_size=32, max_size=32),
)


@settings(max_examples=rounds(60), deadline=None)
@given(one=mandates, other=mandates)
def test_whatever_is_signed_recovers_and_nothing_else_does(
    one: eip712.MandateMessage, other: eip712.MandateMessage
) -> None:
    """Over all texts, numbers and lists: what one mandate's signature proves, no other mandate's does."""
    signed = eip712.mandate_typed_data(one, 31337, AUTHORITY)
    signature = eip712.sign(signed, ACCOUNT)
    assert eip712.recover(signed, signature) == ACCOUNT.address
    if replace(one, categories=tuple(one.categories), payees=tuple(one.payees)) != replace(
        other, categories=tuple(other.categories), payees=tuple(other.payees)
    ):
        assert eip712.digest(eip712.mandate_typed_data(other, 31337, AUTHORITY)) != eip712.digest(signed)
