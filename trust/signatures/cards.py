"""The signature of an A2A agent card: a detached JWS over its canonical form (A2A 1.0 section 8.4, RFC 8785).

The key is the caller's to have: what the signature's header names (`jku`, `jwk`, `x5u`) is the signer's choice, and is
not looked at.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from joserfc import jws as jose
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from trust.errors import SignatureInvalid
from trust.signatures import didkey, jws

_ALGORITHMS = {ECKey: ["ES256", "ES384"], OKPKey: ["Ed25519", "EdDSA"], RSAKey: ["RS256", "PS256"]}
_MOST_SIGNATURES = 16
_MOST_KEYS = 64


@dataclass(frozen=True)
class CardKey:
    """A public key; `name` is its did:key, its key id, or its thumbprint. `key_id` is empty where any signature will
    do that it has made."""

    name: str
    key: ECKey | OKPKey | RSAKey
    key_id: str = ""


def read_key(value: Any) -> CardKey:
    """From a did:key, or a JWK of a public key. Raises SignatureInvalid for anything else."""
    if isinstance(value, str):
        return CardKey(value, jws.public_jwk(didkey.decode(value)))
    if not isinstance(value, dict) or value.get("kty") not in ("EC", "OKP", "RSA"):
        raise SignatureInvalid("the key is neither a did:key nor a JWK of a public key")
    try:
        key: Any = import_key({name: member for name, member in value.items() if name not in _PRIVATE})
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignatureInvalid("the JWK cannot be read") from None
    key_id = value.get("kid")
    named = key_id if isinstance(key_id, str) else ""
    return CardKey(named or key.thumbprint(), key, named)


def keys_in(jwks: Mapping[str, Any]) -> list[CardKey]:
    """The keys of a set that can be read."""
    found: list[CardKey] = []
    entries = jwks.get("keys")
    for entry in entries[:_MOST_KEYS] if isinstance(entries, list) else ():
        try:
            found.append(read_key(entry if isinstance(entry, dict) else None))
        except SignatureInvalid:
            continue
    return found


def filled(value: Any) -> Any:
    """Without what is empty, as the canonical form has it; None where nothing is left."""
    if isinstance(value, dict):
        kept = {name: left for name, each in value.items() if (left := filled(each)) is not None}
        return kept or None
    if isinstance(value, list):
        return [left for each in value if (left := filled(each)) is not None] or None
    return None if value == "" else value


def canonical(card: Mapping[str, Any]) -> bytes:
    """What a card's signature is over. Raises SignatureInvalid for a card that has no canonical form."""
    try:
        return rfc8785.dumps(filled({name: each for name, each in card.items() if name != "signatures"}) or {})
    except (rfc8785.CanonicalizationError, ValueError, RecursionError):
        raise SignatureInvalid("the card has no canonical form") from None


def signer_of(signatures: Any, form: bytes, keys: Iterable[CardKey]) -> CardKey | None:
    """The first of these keys that has made one of the signatures over this form; None where none has."""
    payload = base64.urlsafe_b64encode(form).rstrip(b"=").decode()
    known = list(keys)
    for signature in signatures[:_MOST_SIGNATURES] if isinstance(signatures, list) else ():
        if not isinstance(signature, dict):
            continue
        token = f"{signature.get('protected')}.{payload}.{signature.get('signature')}"
        for key in known:
            if _signed(token, key):
                return key
    return None


def _signed(token: str, key: CardKey) -> bool:
    algorithms: Sequence[str] = next((named for kind, named in _ALGORITHMS.items() if isinstance(key.key, kind)), ())
    try:
        signed = jose.deserialize_compact(token, key.key, algorithms=list(algorithms))
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return not key.key_id or signed.headers().get("kid") in (None, key.key_id)


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
