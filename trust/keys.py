"""The node's own keys: one sealed file, made once, read by every process, rotated, and never made anew unasked."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trust import private_files
from trust.errors import KeysLost, KeysUnreadable
from trust.key_ring import KeyRing
from trust.sealed import NotSealed, Seal, WrongPassword, salt_of
from trust.signatures import didkey, jws

KEY_FILE = "node-keys.json"
KNOWN_FILE = "node-keys.known"
"""The DIDs that were ever made in this folder, a line each: how a lost or an old key file is noticed."""


class NodeKeys:
    """ES256 signing, keyed hashes and key wrapping. A rotation by another process is seen at the next use.

    Every use raises KeysUnreadable where the file is gone, damaged or replaced by one that does not open.
    """

    def __init__(self, folder: Path, seal: Seal, ring: KeyRing, seen: tuple[int, ...]) -> None:
        self._folder = folder
        self._seal = seal
        self._ring_read = ring
        self._seen = seen

    @classmethod
    def open(cls, folder: Path, password: str) -> NodeKeys:
        """The keys in the folder, made there on first use.

        Raises KeysUnreadable (wrong password, damaged file) and KeysLost (the folder once had keys that are gone): new
        keys in their place would disown every receipt, mandate and stored secret. Whoever remembers a DID elsewhere,
        as the database does, compares it with `dids`.
        """
        private_files.make_folder(folder)
        with private_files.locked(folder):
            if not cls.exist(folder):
                if known := _known(folder):
                    raise _lost(folder, known)
                seal = Seal(password)
                private_files.create(folder / KEY_FILE, seal.close(KeyRing.new().to_json()))
            else:
                seal = Seal(password, _salt(folder))
            ring, seen = _read(folder, seal)
            _remember(folder, ring.dids)
        return cls(folder, seal, ring, seen)

    @staticmethod
    def exist(folder: Path) -> bool:
        """Whether the folder has a key file, readable or not."""
        return (folder / KEY_FILE).exists()

    @property
    def did(self) -> str:
        """`did:key:z…` of the current signing key."""
        return self.dids[0]

    @property
    def dids(self) -> tuple[str, ...]:
        """The node's DIDs, the current one first: what an earlier one signed is still this node's word."""
        return self._ring().dids

    @property
    def kid(self) -> str:
        """The DID URL of the current signing key, as JWS headers and JWKS carry it."""
        return didkey.key_id(self.did)

    def jwks(self) -> dict[str, Any]:
        """The public signing keys with their history (RFC 7517), the current one first."""
        return self._ring().jwks()

    def sign(self, payload: Mapping[str, Any], typ: str) -> str:
        """A compact JWS by the current signing key; `jws.verify` checks it."""
        ring = self._ring()
        return jws.sign(payload, typ=typ, key=ring.signing[-1], kid=didkey.key_id(ring.dids[0]))

    def keyed_hash(self, data: bytes) -> str:
        """HMAC-SHA256 in hex, under a secret that rotation keeps."""
        return hmac.digest(self._ring().hashing, data, "sha256").hex()

    def wrap(self, secret: bytes) -> bytes:
        return self._ring().wrap(secret)

    def unwrap(self, wrapped: bytes) -> bytes:
        """What `wrap` wrapped, with any key of the history. Raises KeysUnreadable for anything else."""
        return self._ring().unwrap(wrapped)

    def rotate(self) -> None:
        """New signing and wrapping keys; the earlier ones stay good for checking and unwrapping."""
        with private_files.locked(self._folder):
            ring, _ = _read(self._folder, self._seal)
            rotated = ring.rotated()
            private_files.replace(self._folder / KEY_FILE, self._seal.close(rotated.to_json()))
            _remember(self._folder, rotated.dids)

    def _ring(self) -> KeyRing:
        if _stamp(self._folder) != self._seen:
            self._ring_read, self._seen = _read(self._folder, self._seal)
        return self._ring_read


def _read(folder: Path, seal: Seal) -> tuple[KeyRing, tuple[int, ...]]:
    path = folder / KEY_FILE
    # Stamped before reading: a change in between is then seen at the next use instead of never.
    seen = _stamp(folder)
    envelope = private_files.read(path)
    if envelope is None:
        raise _lost(folder, _known(folder))
    try:
        ring = KeyRing.from_json(seal.open(envelope))
    except WrongPassword:
        raise KeysUnreadable(
            f"{path} does not open with this password; set AGENTNODE_KEYSTORE_PASSWORD to the one it was made with, "
            "or restore the file from a backup"
        ) from None
    except ValueError:
        raise _damaged(path) from None
    if gone := [did for did in _known(folder) if did not in ring.dids]:
        raise _lost(folder, gone)
    return ring, seen


def _salt(folder: Path) -> bytes:
    path = folder / KEY_FILE
    envelope = private_files.read(path)
    try:
        return salt_of(envelope or b"")
    except NotSealed:
        raise _damaged(path) from None


def _stamp(folder: Path) -> tuple[int, ...]:
    try:
        status = os.stat(folder / KEY_FILE)
    except FileNotFoundError:
        raise _lost(folder, _known(folder)) from None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _known(folder: Path) -> list[str]:
    return (private_files.read(folder / KNOWN_FILE) or b"").decode(errors="replace").split()


def _remember(folder: Path, dids: tuple[str, ...]) -> None:
    known = _known(folder)
    if unknown := [did for did in reversed(dids) if did not in known]:
        private_files.replace(folder / KNOWN_FILE, "".join(f"{did}\n" for did in [*known, *unknown]).encode())


def _lost(folder: Path, dids: list[str]) -> KeysLost:
    return KeysLost(
        f"{folder / KEY_FILE} does not have the node's keys {', '.join(dids)}; put the newest backup of it back, or "
        f"delete {folder / KNOWN_FILE} to go on without them, which disowns what they signed"
    )


def _damaged(path: Path) -> KeysUnreadable:
    return KeysUnreadable(f"{path} is damaged; restore it from a backup (nothing was changed)")
