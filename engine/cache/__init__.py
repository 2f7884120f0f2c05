"""Answers that were paid for once: the same question, or one that surely means the same, is answered from them."""

from __future__ import annotations

from engine.cache.asked import Asked, asked_of
from engine.cache.cache import Cache, Hit, KeyedHash
from engine.cache.settings import CacheSettings

__all__ = ["Asked", "Cache", "CacheSettings", "Hit", "KeyedHash", "asked_of"]
