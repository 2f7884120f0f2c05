"""What a node's keys are: signing keys with their history, wrapping keys, and the secret of keyed hashes."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from trust.errors import KeysUnreadable
from trust.signatures import didkey

_ID_BYTES = 8
_NONCE_BYTES = 12
_WRAPPED = b"\x01"


@dataclass(frozen=True)
class KeyRing:
    """Newest last. Of earlier signing keys the public part is kept, of wrapping keys the whole: they unwrap."""

    signing: tuple[ECKey, ...] = field(repr=False)
    wrapping: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    hashing: bytes = field(repr=False)

    @classmethod
    def new(cls) -> KeyRing:
        return cls((ECKey.generate_key("P-256"),), (_wrapping_key(),), secrets.token_bytes(32))

    def rotated(self) -> KeyRing:
        """A new signing and a new wrapping key. The hashing secret stays: every stored keyed hash is made with it."""
        signing = (*self.signing, ECKey.generate_key("P-256"))
        return KeyRing(signing, (*self.wrapping, _wrapping_key()), self.hashing)

    @cached_property
    def dids(self) -> tuple[str, ...]:
        """The current signing key's DID first, then the earlier ones'."""
        return tuple(didkey.encode(key.public_key) for key in reversed(self.signing))

    def jwks(self) -> dict[str, Any]:
        """The public signing keys (RFC 7517), the current one first."""
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": didkey.key_id(did), "alg": "ES256", "use": "sig"}
                for did, key in zip(self.dids, reversed(self.signing), strict=True)
            ]
        }

    def wrap(self, secret: bytes) -> bytes:
        key_id, key = self.wrapping[-1]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _WRAPPED + key_id + nonce + AESGCM(key).encrypt(nonce, secret, _WRAPPED + key_id)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Raises KeysUnreadable where no key here wrapped it, or a byte of it changed."""
        key = self._wrapping_key_of(wrapped)
        if key is None:
            raise KeysUnreadable("it was wrapped by a key that is not in this node's key file; put the right file back")
        head, rest = wrapped[: 1 + _ID_BYTES], wrapped[1 + _ID_BYTES :]
        try:
            return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head)
        except (InvalidTag, ValueError):
            raise KeysUnreadable("a wrapped secret was changed; restore the database from a backup") from None

    def _wrapping_key_of(self, wrapped: bytes) -> bytes | None:
        return dict(self.wrapping).get(wrapped[1 : 1 + _ID_BYTES]) if wrapped[:1] == _WRAPPED else None

    def to_json(self) -> bytes:
        current = len(self.signing) - 1
        members = {
            "signing": [key.as_dict(private=index == current) for index, key in enumerate(self.signing)],
            "wrapping": [[key_id.hex(), key.hex()] for key_id, key in self.wrapping],
            "hashing": self.hashing.hex(),
        }
        return json.dumps(members).encode()

    @classmethod
    def from_json(cls, content: bytes) -> KeyRing:
        """Raises ValueError for anything that `to_json` did not make."""
        try:
            members = json.loads(content)
            ring = cls(
                tuple(ECKey.import_key(jwk) for jwk in members["signing"]),
                tuple((bytes.fromhex(key_id), bytes.fromhex(key)) for key_id, key in members["wrapping"]),
                bytes.fromhex(members["hashing"]),
            )
        except (KeyError, TypeError, JoseError) as problem:
            raise ValueError("not a key ring") from problem
        if not ring.signing or not ring.wrapping or not ring.signing[-1].is_private:
            raise ValueError("not a key ring")
        return ring


def _wrapping_key() -> tuple[bytes, bytes]:
    return secrets.token_bytes(_ID_BYTES), secrets.token_bytes(32)
