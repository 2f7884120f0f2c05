"""Whom we believe over TLS."""

from __future__ import annotations

import functools
import ssl

import httpx


@functools.cache
def authorities() -> ssl.SSLContext:
    """Mozilla's list, read once: it takes as long as twenty requests."""
    return httpx.create_ssl_context(trust_env=False)
