"""The signature of a card: over all of it, by a key that is had already, with no algorithm of the signer's choice."""

from __future__ import annotations

import base64
import copy
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as jose
from joserfc.jwk import ECKey, OKPKey, RSAKey

from trust.errors import SignatureInvalid
from trust.signatures import cards

CARD: dict[str, Any] = {
    "name": "Ölmühle",
    "version": "1",
    "capabilities": {"streaming": True, "pushNotifications": False},
    "skills": [{"id": "ask", "name": "Ask", "description": "0.01 USD per task.", "tags": ["a", "b"]}],
}
KEYS = {
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
    "RS256": RSAKey.generate_key(2048),
    "PS256": RSAKey.generate_key(2048),
}


def signature(algorithm: str, key: Any, form: bytes, **header: Any) -> dict[str, str]:
    token = jose.serialize_compact({"alg": algorithm, **header}, form, key, algorithms=[algorithm])
    protected, _, made = token.split(".")
    return {"protected": protected, "signature": made}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_card_is_signed_by_the_key_that_signed_it(algorithm: str) -> None:
    """And by no other; under the key id that the set says, or none."""
    key = KEYS[algorithm]
    public = key.as_dict(private=False)
    form = cards.canonical(CARD)
    known = cards.keys_in({"keys": [{**public, "kid": "k1"}, {"kty": "oct", "k": "c2VjcmV0"}, 3]})
    assert [each.name for each in known] == ["k1"]
    for header in ({}, {"kid": "k1"}):
        assert cards.signer_of([signature(algorithm, key, form, **header)], form, known) == known[0]
    assert cards.signer_of([signature(algorithm, key, form, kid="k2")], form, known) is None
    other = [cards.read_key(each.as_dict(private=False)) for name, each in KEYS.items() if name != algorithm]
    assert cards.signer_of([signature(algorithm, key, form)], form, other) is None


def test_no_algorithm_without_a_secret_of_its_own_is_taken() -> None:
    """`none`, and HMAC under the public key's text."""
    form, key = cards.canonical(CARD), KEYS["RS256"]
    known = [cards.read_key(key.as_dict(private=False))]
    head, payload = (base64.urlsafe_b64encode(each).rstrip(b"=") for each in (b'{"alg":"HS256"}', form))
    made = hmac.digest(key.as_pem(private=False), head + b"." + payload, "sha256")
    by_text = {"protected": head.decode(), "signature": base64.urlsafe_b64encode(made).rstrip(b"=").decode()}
    unsigned = {**signature("ES256", KEYS["ES256"], form), "protected": "eyJhbGciOiJub25lIn0", "signature": ""}
    assert cards.signer_of([by_text, unsigned], form, known) is None


@given(st.data())
def test_every_change_of_a_card_breaks_its_signature(data: st.DataObject) -> None:
    """Whatever is changed, added or taken away, but for what is empty."""
    known = [cards.read_key(KEYS["ES256"].as_dict(private=False))]
    made = [signature("ES256", KEYS["ES256"], cards.canonical(CARD))]
    changed: Any = copy.deepcopy(CARD)
    holder = data.draw(st.sampled_from([changed, changed["capabilities"], changed["skills"][0]]))
    name = data.draw(st.sampled_from([*holder, "extra"]))
    value = data.draw(st.one_of(st.text(), st.booleans(), st.lists(st.text(min_size=1), max_size=2)))
    holder[name] = value
    same = cards.filled(changed) == CARD
    assert (cards.signer_of(made, cards.canonical(changed), known) is not None) == same
    assert cards.signer_of(made, cards.canonical({**CARD, "signatures": ["x"], "iconUrl": ""}), known) is not None


@given(st.recursive(st.one_of(st.none(), st.integers(), st.text(), st.binary()), st.lists, max_leaves=8))
def test_what_is_no_signature_signs_nothing(sent: Any) -> None:
    known = [cards.read_key(KEYS["ES256"].as_dict(private=False))]
    assert cards.signer_of(sent, cards.canonical(CARD), known) is None
    assert cards.signer_of([{"protected": sent, "signature": sent}], cards.canonical(CARD), known) is None


def test_a_card_without_a_canonical_form_is_refused() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    for bad in ({"n": float("nan")}, {"n": 2**60}, {"deep": deep}, {"s": "\ud800"}):
        with pytest.raises(SignatureInvalid):
            cards.canonical(bad)
