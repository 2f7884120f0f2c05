"""did:key for P-256 public keys: the key is the name (W3C CCG did:key, multicodec p256-pub 0x1200)."""

from __future__ import annotations

import base58
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trust.errors import SignatureInvalid

_PREFIX = "did:key:z"
_P256_PUB = b"\x80\x24"
_LONGEST = 64


def encode(public_key: ec.EllipticCurvePublicKey) -> str:
    """`did:key:zDn…` of a P-256 public key."""
    assert public_key.curve.name == "secp256r1", "only P-256 keys are named by this module"
    point = public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return _PREFIX + base58.b58encode(_P256_PUB + point).decode()


def decode(did: str) -> ec.EllipticCurvePublicKey:
    """The P-256 key that a did:key names. Raises SignatureInvalid for any other DID, key type or spelling."""
    # Base58 decoding is quadratic, so a stranger's text is measured first.
    if not did.startswith(_PREFIX) or len(did) > _LONGEST:
        raise SignatureInvalid("the DID is not a did:key of a P-256 key")
    try:
        named = base58.b58decode(did.removeprefix(_PREFIX))
        if not named.startswith(_P256_PUB):
            raise ValueError("another key type")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), named.removeprefix(_P256_PUB))
    except ValueError:
        raise SignatureInvalid("the DID is not a did:key of a P-256 key") from None
    if encode(key) != did:
        raise SignatureInvalid("the DID is not in its canonical spelling")
    return key


def key_id(did: str) -> str:
    """The DID URL of the one key in a did:key's document: `did:key:z…#z…`."""
    return f"{did}#{did.removeprefix('did:key:')}"


def of_key_id(kid: str) -> str:
    """The did:key whose key `kid` names. Raises SignatureInvalid where `kid` is not that DID's own key."""
    did = kid.partition("#")[0]
    if not did.startswith(_PREFIX) or kid != key_id(did):
        raise SignatureInvalid("the key id is not the DID URL of a did:key")
    return did
