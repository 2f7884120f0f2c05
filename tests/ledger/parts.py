"""Parts that the ledger's tests hand in: clocks that are set by hand, and a node key kept in memory."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.clock import SystemClock

START_US = 1_764_000_000_000_000


class SetClock:
    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def pass_s(self, seconds: float) -> None:
        self._now_us += int(seconds * 1_000_000)


class LaterClock(SystemClock):
    """The system's time, so many seconds later, which may be changed."""

    def __init__(self, later_s: int = 0) -> None:
        self.later_s = later_s

    def now_us(self) -> int:
        return super().now_us() + self.later_s * 1_000_000


class MemoryKey:
    """Hashes and wraps as the node's keys do."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def keyed_hash(self, data: bytes) -> str:
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()

    def wrap(self, key: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(self._secret).encrypt(nonce, key, None)

    def unwrap(self, wrapped: bytes) -> bytes:
        return AESGCM(self._secret).decrypt(wrapped[:12], wrapped[12:], None)
