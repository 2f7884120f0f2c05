"""The challenge of a sign-in: what the node asks is what it takes, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from agentnode.payments.errors import SignInRefused
from agentnode.payments.taking.sign_in import signed_digest
from agentnode.payments.taking.sign_in_challenge import LIFE_S, NAME, Challenges, Proof
from ledger.clock import SECOND_US
from ledger.errors import InvalidInput

URI = "https://node.example/v1/things?size=2"
NOW_US = 1_764_000_000_123_000
WALLET = Account.from_key("0x" + "11" * 32)


class Hashing:
    def __init__(self, secret: bytes = b"one") -> None:
        self._secret = secret

    def keyed_hash(self, data: bytes) -> str:
        return hashlib.sha256(self._secret + data).hexdigest()


CHALLENGES = Challenges(Hashing(), "eip155:31337")


def proof(**other: Any) -> Proof:
    asked = CHALLENGES.new(URI, NOW_US).declared()[NAME]
    fields = {**asked["info"], **asked["supportedChains"][0], "address": WALLET.address, "signature": "0x" + "12" * 65}
    return Proof.read({**fields, **other}, "SIGN-IN-WITH-X")


@given(at_ms=st.integers(min_value=0, max_value=4_000_000_000_000), after_s=st.integers(min_value=0, max_value=299))
def test_a_challenge_is_known_again_until_it_ends(at_ms: int, after_s: int) -> None:
    """By no more than what the proof says of it."""
    asked = CHALLENGES.new(URI, at_ms * 1_000)
    said = {**asked.declared()[NAME]["info"], "chainId": "eip155:31337", "type": "eip191"}
    sent = Proof.read({**said, "address": WALLET.address, "signature": "0x" + "12" * 65}, "x")
    assert CHALLENGES.answered(sent, URI, at_ms * 1_000 + after_s * SECOND_US) == asked


def test_the_message_is_the_one_that_the_siwe_library_writes() -> None:
    """So that every wallet's and every client's text is the node's."""
    from siwe import SiweMessage

    asked = CHALLENGES.new(URI, NOW_US)
    info = asked.declared()[NAME]["info"]
    written = SiweMessage(
        domain=info["domain"],
        address=WALLET.address,
        statement=info["statement"],
        uri=info["uri"],
        version=info["version"],
        chain_id=31337,
        nonce=info["nonce"],
        issued_at=info["issuedAt"],
        expiration_time=info["expirationTime"],
        resources=info["resources"],
    ).prepare_message()
    assert asked.message(WALLET.address) == written
    signed = Account.sign_message(encode_defunct(text=written), WALLET.key)
    assert signed.message_hash == signed_digest(written)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"domain": "evil.example"}, "invalid_siwx_domain_mismatch"),
        ({"domain": "node.example:443"}, "invalid_siwx_domain_mismatch"),
        ({"uri": "https://node.example/v1/things?size=3"}, "invalid_siwx_uri_mismatch"),
        ({"uri": "http://node.example/v1/things?size=2"}, "invalid_siwx_uri_mismatch"),
        ({"type": "ed25519"}, "invalid_siwx_unsupported_chain"),
        ({"chainId": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}, "invalid_siwx_unsupported_chain"),
        ({"chainId": "eip155:1"}, "invalid_siwx_chain_id"),
        ({"issuedAt": "yesterday"}, "invalid_siwx_issued_at"),
        ({"issuedAt": "2025-13-24T16:00:00.123Z"}, "invalid_siwx_issued_at"),
        ({"issuedAt": "2025-11-24T16:01:01.123Z"}, "invalid_siwx_issued_at_in_future"),
        ({"issuedAt": "2025-11-24T15:55:00.123Z"}, "invalid_siwx_issued_at_too_old"),
        ({"issuedAt": "2025-11-24T15:59:59.123Z"}, "invalid_siwx_nonce"),
        ({"nonce": "ab" * 16}, "invalid_siwx_nonce"),
        ({"nonce": ""}, "invalid_siwx_nonce"),
        ({"nonce": "é" * 32}, "invalid_siwx_nonce"),
        ({"signature": "0x12"}, "invalid_siwx_malformed_signature"),
        ({"signature": "zz" * 65}, "invalid_siwx_malformed_signature"),
    ],
)
def test_each_thing_that_is_not_as_it_was_asked_has_its_code(changed: dict[str, str], code: str) -> None:
    """x402's own code, and our sentence."""
    with pytest.raises(SignInRefused) as refusal:
        CHALLENGES.answered(proof(**changed), URI, NOW_US)
    assert refusal.value.siwx_code == code
    assert refusal.value.message.startswith(f"SIGN_IN_REFUSED: {code}: ")


def test_a_challenge_ends() -> None:
    sent = proof()
    CHALLENGES.answered(sent, URI, NOW_US + LIFE_S * SECOND_US - 1_000)
    with pytest.raises(SignInRefused, match="too_old"):
        CHALLENGES.answered(sent, URI, NOW_US + LIFE_S * SECOND_US)


def test_another_nodes_challenge_is_none_of_ours() -> None:
    others = Challenges(Hashing(b"two"), "eip155:31337").new(URI, NOW_US)
    with pytest.raises(SignInRefused, match="invalid_siwx_nonce"):
        CHALLENGES.answered(proof(nonce=others.nonce), URI, NOW_US)


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.integers(), st.text(max_size=50)), max_size=10))
def test_what_is_no_proof_is_refused_by_its_header(sent: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="SIGN-IN-WITH-X"):
        Proof.read(sent, "SIGN-IN-WITH-X")
