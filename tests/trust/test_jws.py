"""JWS by did:key: who signed, in one spelling, with one algorithm."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey

from ledger.errors import InvalidInput
from trust.errors import SignatureInvalid
from trust.signatures import didkey, didpkh, jws

KEY = ECKey.generate_key("P-256")
DID = didkey.encode(KEY.public_key)
KID = didkey.key_id(DID)
OTHER = ECKey.generate_key("P-256")
OTHER_DID = didkey.encode(OTHER.public_key)
PAYLOAD = {"use": "use_1", "amount_usd_nanos": "10000000", "exp": 1_800_000_000}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
TOKEN = jws.sign(PAYLOAD, typ="use+jwt", key=KEY, kid=KID)


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(header: dict[str, Any], key: Any = KEY, algorithm: str = "ES256", payload: bytes = b"{}") -> str:
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return joserfc_jws.serialize_compact({"alg": algorithm, **header}, payload, key, registry=registry)


def test_a_token_says_who_signed_it_and_what() -> None:
    """The payload comes back for the DID, the key set and the type that are expected, and the kid is the DID's URL."""
    assert jws.verify(TOKEN, did=DID) == PAYLOAD
    assert jws.verify(TOKEN, did=DID, typ="use+jwt", jwks={"keys": [{"kid": KID}]}) == PAYLOAD
    assert jws.claimed_signer(TOKEN) == DID
    assert didkey.of_key_id(KID) == DID


def test_equal_payloads_have_equal_signing_inputs() -> None:
    """The payload is signed in its JCS form, whatever order its members came in."""
    again = jws.sign(dict(reversed(PAYLOAD.items())), typ="use+jwt", key=KEY, kid=KID)
    assert again.rpartition(".")[0] == TOKEN.rpartition(".")[0]


def test_another_signer_type_or_key_set_is_refused() -> None:
    """A good signature by somebody else, of another type, or by a key outside the set proves nothing."""
    for asked in ({"did": OTHER_DID}, {"did": DID, "typ": "receipt+jwt"}, {"jwks": {"keys": [{"kid": "x"}]}}):
        with pytest.raises(SignatureInvalid):
            jws.verify(TOKEN, **asked)
    for jwks in ({}, {"keys": None}, {"keys": ["x", {"kid": 1}]}):
        with pytest.raises(SignatureInvalid):
            jws.verify(TOKEN, jwks=jwks)
    with pytest.raises(TypeError):
        jws.verify(TOKEN)


def test_a_signature_under_a_borrowed_key_id_is_refused() -> None:
    """Whoever writes another's kid into the header must have that other's key, and no set can lend it."""
    forged = signed({"kid": KID}, OTHER)
    lent = {"keys": [{**OTHER.as_dict(private=False), "kid": KID}]}
    for asked in ({"did": DID}, {"jwks": lent}):
        with pytest.raises(SignatureInvalid, match="does not match"):
            jws.verify(forged, **asked)


@pytest.mark.parametrize("index", [5, len(TOKEN) // 2, TOKEN.rindex(".") + 20])
def test_a_flipped_character_is_refused(index: int) -> None:
    """Header, payload and signature are all under the signature."""
    flipped = TOKEN[:index] + ("A" if TOKEN[index] != "A" else "B") + TOKEN[index + 1 :]
    with pytest.raises(SignatureInvalid):
        jws.verify(flipped, did=DID)


def test_only_es256_is_taken() -> None:
    """No `none`, no HMAC under the public key, no other curve."""
    header = b64(json.dumps({"alg": "none", "kid": KID}).encode())
    p384 = ECKey.generate_key("P-384")
    hs256 = f"{b64(json.dumps({'alg': 'HS256', 'kid': KID}).encode())}.{b64(b'{}')}"
    by_public_key = hmac.digest(KEY.as_pem(private=False), hs256.encode(), "sha256")
    tokens = [
        f"{header}.{b64(b'{}')}.",
        f"{header}.{b64(b'{}')}.{b64(bytes(64))}",
        f"{hs256}.{b64(by_public_key)}",
        f"{hs256}.{b64(by_public_key * 2)}",
        signed({"kid": KID}, p384, "ES384"),
    ]
    for token in tokens:
        with pytest.raises(SignatureInvalid):
            jws.verify(token, did=DID)


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": OTHER.as_dict(private=False)},
        {"jku": "https://example.com/jwks"},
        {"x5c": []},
        {"crit": ["exp"], "exp": 1},
    ],
    ids=["jwk", "jku", "x5c", "crit"],
)
def test_a_header_that_brings_its_own_key_or_rules_is_refused(extra: dict[str, Any]) -> None:
    """A token cannot name a key of its maker's choice, nor ask for rules that are not kept."""
    try:
        token = signed({"kid": KID, **extra})
    except Exception:  # joserfc will not sign such a header: the same token by hand, its signature no longer matters
        token = f"{b64(json.dumps({'alg': 'ES256', 'kid': KID, **extra}).encode())}.{b64(b'{}')}.{b64(bytes(64))}"
    with pytest.raises(SignatureInvalid, match="header must have"):
        jws.verify(token, did=DID)


def test_a_token_has_one_spelling() -> None:
    """Padding, free tail bits, foreign characters and segments too many are refused: nobody respells a token."""
    head, payload, signature = TOKEN.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tail = alphabet[alphabet.index(signature[-1]) ^ 1]
    respelled = [
        f"{TOKEN}==",
        f"{TOKEN}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature[:-1]}{tail}",
        f" {TOKEN}",
        f"{head}.{payload}\n.{signature}",
        f"{head}é.{payload}.{signature}",
        "",
        "." * 70_000,
    ]
    for token in respelled:
        with pytest.raises(SignatureInvalid):
            jws.verify(token, did=DID)
        with pytest.raises(SignatureInvalid):
            jws.claimed_signer(token)


@pytest.mark.parametrize("payload", [b"[]", b"1", b"", b'{"a":1,"a":2}', b"\xff", b"[" * 5_000], ids=repr)
def test_a_payload_that_is_no_plain_object_is_refused(payload: bytes) -> None:
    """A member twice reads differently in two parsers, so it is not read at all."""
    with pytest.raises(SignatureInvalid):
        jws.verify(signed({"kid": KID}, payload=payload), did=DID)


def test_did_key_names_one_key_in_one_spelling() -> None:
    """The published example decodes and encodes to itself; other key types and spellings are refused."""
    example = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"  # did:key specification, P-256 test vector
    assert didkey.encode(didkey.decode(example)) == example
    refused = [
        "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        example.replace("did:key:z", "did:key:f"),
        example[:-1],
        example + "1",
        example + "\n",
        "did:key:z1" + example.removeprefix("did:key:z"),
        "did:web:example.com",
        "did:key:z" + "2" * 3_000_000,
        "",
    ]
    for did in refused:
        with pytest.raises(SignatureInvalid):
            didkey.decode(did)
    for kid in (DID, f"{DID}#", f"{DID}#{OTHER_DID.removeprefix('did:key:')}", "#", ""):
        with pytest.raises(SignatureInvalid):
            didkey.of_key_id(kid)


def test_did_pkh_names_an_account_on_one_chain() -> None:
    """Addresses are lower case inside a DID, and every other spelling is bad input that names its field."""
    did = didpkh.encode(8453, "0x036CbD53842c5426634e7929541eC2318f3dCF7e")
    assert did == "did:pkh:eip155:8453:0x036cbd53842c5426634e7929541ec2318f3dcf7e"
    assert didpkh.decode(did) == (8453, "0x036cbd53842c5426634e7929541ec2318f3dcf7e")
    refused = [did.upper(), did + "\n", did[:-1], did.replace("8453", "08453"), did.replace("0x036c", "0x036C"), DID]
    for text in refused:
        assert not didpkh.is_pkh(text)
        with pytest.raises(InvalidInput) as refusal:
            didpkh.decode(text, "user_did")
        assert refusal.value.param == "user_did"
    with pytest.raises(InvalidInput):
        didpkh.encode(1, "0x12")
