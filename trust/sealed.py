"""Bytes sealed under a password: scrypt (RFC 7914) to a key, AES-256-GCM over the bytes."""

from __future__ import annotations

import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_FORMAT = "agentnode-sealed-1"
_SALT_BYTES = 16
_NONCE_BYTES = 12


class NotSealed(ValueError):
    """The bytes are not a sealed envelope of this format."""


class WrongPassword(ValueError):
    """The envelope does not open: another password, or a changed byte."""


class Seal:
    """The key that one password and one salt give; deriving it takes some tenths of a second, by intent."""

    def __init__(self, password: str, salt: bytes | None = None) -> None:
        self.salt = salt if salt is not None else secrets.token_bytes(_SALT_BYTES)
        # 2**15, 8, 3: OWASP's equal of 2**17, 8, 1 with a quarter of its memory.
        key = Scrypt(salt=self.salt, length=32, n=2**15, r=8, p=3).derive(password.encode())
        self._cipher = AESGCM(key)

    def close(self, content: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, content, _FORMAT.encode())
        envelope = {"format": _FORMAT, "salt": self.salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}
        return (json.dumps(envelope, indent=1) + "\n").encode()

    def open(self, envelope: bytes) -> bytes:
        """The content. Raises NotSealed or WrongPassword."""
        salt, nonce, sealed = _parts(envelope)
        if salt != self.salt:
            raise WrongPassword("sealed with another salt")
        try:
            return self._cipher.decrypt(nonce, sealed, _FORMAT.encode())
        except InvalidTag:
            raise WrongPassword("another password, or a changed byte") from None


def salt_of(envelope: bytes) -> bytes:
    """The salt to derive the key with. Raises NotSealed."""
    return _parts(envelope)[0]


def _parts(envelope: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        members = json.loads(envelope)
        if members["format"] != _FORMAT:
            raise NotSealed("another format")
        salt, nonce, sealed = (bytes.fromhex(members[name]) for name in ("salt", "nonce", "sealed"))
    except (ValueError, KeyError, TypeError) as problem:
        raise NotSealed("not a sealed envelope") from problem
    if len(salt) != _SALT_BYTES or len(nonce) != _NONCE_BYTES:
        raise NotSealed("not a sealed envelope")
    return salt, nonce, sealed
