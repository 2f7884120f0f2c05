"""A node whose names are looked up at a hostile name server: `moves-*` is here when it is handed in, then inside."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from typing import Any

from agentnode.__main__ import SETTINGS, run
from agentnode.settings import Settings

HERE, INSIDE = "127.0.0.1", "127.0.0.2"
"""What the operator allows, and what it does not."""
LEADS_TO = {
    "inside.example": [INSIDE],
    "mixed.example": [HERE, INSIDE],
    "mapped.example": [f"::ffff:{INSIDE}"],
    "nat64.example": ["64:ff9b::7f00:2"],
    "linklocal.example": ["fe80::1"],
    "metadata.example": ["169.254.169.254"],
    "unique-local.example": ["fd00:ec2::254"],
    "private.example": ["10.0.0.1"],
}
_real, _asked = socket.getaddrinfo, Counter[str]()


def getaddrinfo(host: Any, port: Any, *more: Any, **named: Any) -> list[Any]:
    if not isinstance(host, str) or not host.endswith(".example"):
        return _real(host, port, *more, **named)
    _asked[host] += 1
    first = host.startswith("moves-") and _asked[host] == 1
    addresses = LEADS_TO.get(host) or ([HERE] if first or host.startswith("good") else [INSIDE])
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


if __name__ == "__main__":
    socket.getaddrinfo = getaddrinfo
    sys.exit(asyncio.run(run(Settings.model_validate_json(os.environ[SETTINGS]), lambda point: None)))
