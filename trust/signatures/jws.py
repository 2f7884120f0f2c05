"""Compact JWS with ES256, signed by keys that a did:key names (RFC 7515, RFC 7518 section 3.4).

A signature proves who said it, not that it still holds: `exp`, `nonce` and `aud` are the caller's to check.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from trust.errors import SignatureInvalid
from trust.signatures import didkey

_LONGEST = 65_536
# Headers that name a key of the signer's choice (jwk, jku, x5c…) or change what is signed (b64, crit) are not ours.
_HEADERS = {"alg", "kid", "typ", "cty"}


def sign(payload: Mapping[str, Any], *, typ: str, key: ECKey, kid: str) -> str:
    """A compact JWS over the payload's JCS form, so that equal payloads have equal signing inputs.

    Numbers beyond 2**53 must be strings: rfc8785 raises for them.
    """
    header = {"alg": "ES256", "kid": kid, "typ": typ}
    return jws.serialize_compact(header, rfc8785.dumps(dict(payload)), key, algorithms=["ES256"])


def verify(
    token: str, *, did: str | None = None, jwks: Mapping[str, Any] | None = None, typ: str | None = None
) -> dict[str, Any]:
    """The payload, signed by `did`, or by a key in `jwks` (which is how a node's earlier keys stay good).

    Raises SignatureInvalid for another signer, algorithm, type or spelling (canonical base64url, unique members).
    """
    if did is None and jwks is None:
        raise TypeError("say whose signature is asked for: a signature alone proves nothing")
    header = _header(token)
    signer = didkey.of_key_id(header["kid"])
    if did is not None and signer != did:
        raise SignatureInvalid(f"it is signed by {signer}, not by {did}")
    if jwks is not None and header["kid"] not in _key_ids(jwks):
        raise SignatureInvalid(f"{header['kid']} is not among the keys that may have signed it")
    if typ is not None and header.get("typ") != typ:
        raise SignatureInvalid(f"its typ is not {typ}")
    try:
        # The key comes from the DID, which is the key: no set can bind another one to that id.
        signed = jws.deserialize_compact(token, public_jwk(didkey.decode(signer)), algorithms=["ES256"])
    except (JoseError, ValueError):
        raise SignatureInvalid("the signature does not match") from None
    return _object(signed.payload or b"", "payload")


def claimed_signer(token: str) -> str:
    """The did:key that a token says it is signed by: a claim, until `verify(token, did=…)` has held."""
    return didkey.of_key_id(_header(token)["kid"])


def public_jwk(key: ec.EllipticCurvePublicKey) -> ECKey:
    numbers = key.public_numbers()
    x, y = (_encode(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
    return ECKey.import_key({"kty": "EC", "crv": "P-256", "x": x, "y": y})


def _key_ids(jwks: Mapping[str, Any]) -> set[str]:
    keys = jwks.get("keys")
    entries = keys if isinstance(keys, list) else []
    return {entry["kid"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("kid"), str)}


def _header(token: str) -> dict[str, Any]:
    segments = token.split(".") if len(token) <= _LONGEST else []
    if len(segments) != 3:
        raise SignatureInvalid("it is not a compact JWS")
    header_json, _, signature = (_decode(segment) for segment in segments)
    header = _object(header_json, "header")
    if header.get("alg") != "ES256" or len(signature) != 64:
        raise SignatureInvalid("it is not signed with ES256")
    if not isinstance(header.get("kid"), str) or not header.keys() <= _HEADERS:
        raise SignatureInvalid("its header must have a kid, and nothing but alg, kid, typ and cty")
    return header


def _object(text: bytes, what: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member twice")
        return members

    try:
        value = json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise SignatureInvalid(f"its {what} is not a JSON object with unique members") from None
    if not isinstance(value, dict):
        raise SignatureInvalid(f"its {what} is not a JSON object with unique members")
    return value


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(segment: str) -> bytes:
    try:
        value = base64.urlsafe_b64decode(segment.encode("ascii") + b"=" * (-len(segment) % 4))
    except ValueError:
        raise SignatureInvalid("it is not base64url") from None
    # Padding, stray characters and free tail bits would give one token many spellings, so only one is taken.
    if _encode(value) != segment:
        raise SignatureInvalid("its base64url is not canonical")
    return value
